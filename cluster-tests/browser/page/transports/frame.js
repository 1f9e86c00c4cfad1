// A hidden iframe that stays open. When its connection breaks, the browser
// says nothing; so it ends, too, when it has been silent for two heartbeats.
// `heard` restarts that time.

const UNTIL_WELCOME = 10_000;

export default function frame(url, start) {
  return new Promise((over) => {
    const element = document.createElement('iframe');
    let timer;
    const end = (why) => {
      clearTimeout(timer);
      element.remove();
      over(why);
    };
    const wait = (time) => {
      clearTimeout(timer);
      timer = setTimeout(end, time, 'the iframe was silent');
    };
    let silence = UNTIL_WELCOME;
    start((received) => {
      if (received.heartbeat_ms) silence = 2 * received.heartbeat_ms;
      wait(silence);
    });
    wait(silence);
    element.hidden = true;
    element.addEventListener('load', () => end('the iframe was closed'));
    element.src = url;
    document.body.append(element);
  });
}

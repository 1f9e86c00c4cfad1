// HTTP streaming with XMLHttpRequest: at readyState 3 `responseText` is what
// has come so far.

import lines from './lines.js';

export default ({ at, take }) => new Promise((over, fail) => {
  const request = new XMLHttpRequest();
  const push = lines(take);
  let read = 0;
  request.onreadystatechange = () => {
    if (request.readyState !== XMLHttpRequest.LOADING || request.status !== 200) return;
    const text = request.responseText;
    push(text.slice(read));
    read = text.length;
  };
  request.onload = () => over(`status ${request.status}`);
  request.onerror = () => fail(new Error('the request broke'));
  request.open('GET', at('/v1/stream', { pad: 2048 }));
  request.send();
});

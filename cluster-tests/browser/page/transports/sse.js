// A bare EventSource: it reconnects by itself, to the same URL, with
// Last-Event-ID. Ends only when the browser gives up.

const TYPES = ['welcome', 'message'];

export default ({ at, take }) => new Promise((_, fail) => {
  const source = new EventSource(at('/v1/sse'));
  for (const type of TYPES) {
    source.addEventListener(type, (event) => take(JSON.parse(event.data)));
  }
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) fail(new Error('the EventSource gave up'));
  };
});

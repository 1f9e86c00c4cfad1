// WebSockets: frames as JSON text, and as protobuf in binary messages, of
// which this page lists the characters (it has no decoder).

function open(url, protocol, heard) {
  return new Promise((over, fail) => {
    const socket = new WebSocket(url, protocol);
    let opened = false;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      opened = socket.protocol === protocol;
    };
    socket.onmessage = (event) => heard(event.data);
    socket.onclose = (event) => {
      if (opened) over(`closed with ${event.code}`);
      else fail(new Error('the WebSocket did not open'));
    };
  });
}

const web = (url) => url.replace(/^http/, 'ws');

export const webSocket = ({ at, take }) =>
  open(web(at('/v1/ws')), 'switchboard.v1.json', (text) => take(JSON.parse(text)));

export const webSocketBinary = ({ at, show }) =>
  open(web(at('/v1/ws')), 'switchboard.v1.proto', (data) => {
    if (!(data instanceof ArrayBuffer)) throw new TypeError('a binary message was expected');
    show(new TextDecoder().decode(data));
  });

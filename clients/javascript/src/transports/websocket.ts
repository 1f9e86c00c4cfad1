/** WebSocket: frames both ways. */

import { asError, SwitchboardError } from '../error.js';
import { guarded, type Transport } from './transport.js';

export const websocket: Transport = {
  name: 'websocket',
  usable: (platform) => !!platform.WebSocket,

  open(given) {
    const { opening, close } = guarded(given);
    let socket: WebSocket | undefined;
    let wanted = true;
    const start = async () => {
      const ticket = await opening.ticket();
      if (!wanted) return;
      const url = opening.url('ws', { ticket }).replace(/^http/, 'ws');
      socket = new opening.platform.WebSocket!(url, 'switchboard.v1.json');
      socket.onmessage = (event) => opening.frame(JSON.parse(event.data));
      socket.onerror = () => {};
      socket.onclose = (event) =>
        opening.end(new SwitchboardError('disconnected', `the WebSocket closed with ${event.code}`));
    };
    start().catch((thrown) => opening.end(asError(thrown)));
    return {
      send: (text) => socket?.send(text),
      close() {
        wanted = false;
        close();
        socket?.close(1000);
      },
    };
  },
};

/**
 * Server-sent events over the platform's EventSource. Each reconnect makes a new one, since a ticket is valid for one
 * connection.
 */

import { asError, SwitchboardError } from '../error.js';
import { PUSHED } from '../frames.js';
import { guarded, type Transport } from './transport.js';

export const sse: Transport = {
  name: 'sse',
  usable: (platform) => !!platform.EventSource,

  open(given) {
    const { opening, close } = guarded(given);
    let source: EventSource | undefined;
    let wanted = true;
    const start = async () => {
      const ticket = await opening.ticket();
      if (!wanted) return;
      source = new opening.platform.EventSource!(opening.url('sse', { ticket }));
      for (const type of PUSHED) {
        source.addEventListener(type, (event) => opening.frame(JSON.parse((event as MessageEvent).data)));
      }
      source.onerror = () => {
        source?.close();
        opening.end(new SwitchboardError('disconnected', 'the event stream ended'));
      };
    };
    start().catch((thrown) => opening.end(asError(thrown)));
    return {
      close() {
        wanted = false;
        close();
        source?.close();
      },
    };
  },
};

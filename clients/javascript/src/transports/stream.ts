/** HTTP streaming: one frame on each line of a response's body. */

import { asError, SwitchboardError } from '../error.js';
import { request } from '../http.js';
import { guarded, type Transport } from './transport.js';

/** Milliseconds until the response's head. After that the client watches for silence. */
const HEAD = 10_000;

export const stream: Transport = {
  name: 'stream',
  usable: () => typeof ReadableStream === 'function' && typeof TextDecoder === 'function',

  open(given) {
    const { opening, close } = guarded(given);
    const abort = new AbortController();
    const read = async () => {
      const init = { headers: opening.headers(), signal: abort.signal };
      const response = await request(opening.platform.fetch, opening.url('stream'), init, HEAD);
      const reader = response.body!.getReader();
      const decoder = new TextDecoder();
      let text = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new SwitchboardError('disconnected', 'the stream ended');
        text += decoder.decode(value, { stream: true });
        opening.alive();
        const lines = text.split('\n');
        text = lines.pop()!;
        for (const line of lines) {
          if (line.trim()) opening.frame(JSON.parse(line));
        }
      }
    };
    read().catch((thrown) => opening.end(asError(thrown)));
    return {
      close() {
        close();
        abort.abort();
      },
    };
  },
};

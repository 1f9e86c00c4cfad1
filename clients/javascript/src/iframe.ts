/**
 * The forever iframe, for pages where nothing else streams: a page of the server posts each frame to this page. Use
 * it in `transports`: `new Switchboard(url, { transports: ['websocket', iframe, 'poll'] })`.
 */

import { asError, SwitchboardError } from './error.js';
import { guarded, type Transport } from './transports/transport.js';

export const iframe: Transport = {
  name: 'iframe',
  usable: () => typeof document === 'object',

  open(given) {
    const { opening, close } = guarded(given);
    let element: HTMLIFrameElement | undefined;
    let wanted = true;
    const hear = (event: MessageEvent) => {
      if (event.source !== element?.contentWindow) return;
      opening.frame(typeof event.data === 'string' ? JSON.parse(event.data) : event.data);
    };
    const start = async () => {
      const ticket = await opening.ticket();
      if (!wanted) return;
      element = document.createElement('iframe');
      element.hidden = true;
      element.onload = () => opening.end(new SwitchboardError('disconnected', 'the iframe has ended'));
      element.src = opening.url('iframe', { ticket, callback: 'postMessage', origin: location.origin });
      addEventListener('message', hear);
      document.body.append(element);
    };
    start().catch((thrown) => opening.end(asError(thrown)));
    return {
      close() {
        wanted = false;
        close();
        removeEventListener('message', hear);
        element?.remove();
      },
    };
  },
};

/** The panel that shows the connection, and lets one play with it. */

import { Switchboard } from '../src/client.js';
import type { TransportName } from '../src/transports/transport.js';
import { $, h, text } from './dom.js';

const TRANSPORTS: TransportName[] = ['websocket', 'sse', 'stream', 'poll', 'short-poll'];
/** Milliseconds between two measurements of latency, while the panel is open. */
const MEASURE = 5_000;

export class Connection {
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(readonly client: Switchboard) {
    const panel = $<HTMLDetailsElement>('connection');
    panel.ontoggle = () => {
      clearInterval(this.#timer);
      if (!panel.open) return;
      void this.#measure();
      this.#timer = setInterval(() => void this.#measure(), MEASURE);
    };
    const use = $<HTMLSelectElement>('use');
    use.onchange = () => client.use(use.value ? [use.value as TransportName] : undefined);
    $('cut').onclick = () => client.reconnect();
    $('compare').onclick = () => void this.#compare();
  }

  render(): void {
    const { state, transport, node, cursor, error } = this.client;
    const where = [transport, node].filter(Boolean).join(' · ');
    const why = error && state !== 'connected' ? `: ${error.message}` : '';
    text($('state'), state === 'connected' ? `connected · ${where}` : `${state}${why}`);
    $('lamp').className = state;
    text($('node'), node || '–');
    text($('transport'), transport ?? '–');
    text($('cursor'), cursor || '–');
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #measure(): Promise<void> {
    const milliseconds = await this.client.ping().catch(() => undefined);
    text($('latency'), milliseconds === undefined ? '–' : `${milliseconds.toFixed(1)} ms`);
    this.render();
  }

  /** Opens each transport beside the connection, as a device of its own, and measures it. */
  async #compare(): Promise<void> {
    const button = $<HTMLButtonElement>('compare');
    const body = $('compared').querySelector('tbody')!;
    button.disabled = true;
    $('compared').hidden = false;
    body.replaceChildren();
    for (const name of TRANSPORTS) {
      const cells = [h('td', {}, '…'), h('td'), h('td')] as const;
      body.append(h('tr', {}, h('th', { scope: 'row' }, name), ...cells));
      await this.#try(name, cells).catch((error) => text(cells[0], (error as Error).message));
    }
    button.disabled = false;
  }

  async #try(name: TransportName, [connect, answer, own]: readonly [HTMLElement, HTMLElement, HTMLElement]) {
    const token = await this.client.token();
    const beside = new Switchboard(location.origin, {
      token,
      transports: [name],
      storage: null,
      share: false,
      device: `compare-${name}`,
    });
    const late = setTimeout(() => void beside.disconnect(), 10_000);
    try {
      const begun = performance.now();
      await beside.connect();
      text(connect, `${Math.round(performance.now() - begun)} ms`);
      text(answer, `${(await beside.ping()).toFixed(1)} ms`);
      const sent = performance.now();
      const come = new Promise<void>((over) => beside.on('message', () => over()));
      await beside.send({ to: beside.user, body: `compared: ${name}` });
      await come;
      text(own, `${Math.round(performance.now() - sent)} ms`);
    } finally {
      clearTimeout(late);
      await beside.disconnect({ forget: true });
    }
  }
}

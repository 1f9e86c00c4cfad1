/**
 * The client: it keeps one connection over whichever transport works, hands each frame to the program once and in
 * order, answers commands with promises, and keeps messages until the server has them.
 */

import { Connector, type State } from './connector.js';
import { Commands } from './commands.js';
import { SwitchboardError } from './error.js';
import { Handing } from './handing.js';
import type { Command, Frame, FrameType, Frames, Json, Recipient, Sent } from './frames.js';
import { queryOf, request } from './http.js';
import { Outbox, type Entry } from './outbox.js';
import { fromBrowser, Keeping, memory, randomId, type Storage } from './storage.js';
import { canShare, shared } from './tabs.js';
import { Tokens } from './token.js';
import { poll, pollOnce, shortPoll } from './transports/poll.js';
import { sse } from './transports/sse.js';
import { stream } from './transports/stream.js';
import type { Platform, Transport, TransportName } from './transports/transport.js';
import { Vocabulary } from './vocabulary.js';
import { websocket } from './transports/websocket.js';

/** The built-in transports, best first. */
const TRANSPORTS: Transport[] = [websocket, sse, stream, poll, shortPoll];
/** Milliseconds to wait for a `pong` before a silent connection is given up. */
const PONG_WITHIN = 5_000;
/** Milliseconds after frames were handed out until they are acknowledged. */
const ACKNOWLEDGE = 1_000;

export interface Options {
  /** A JWT whose `sub` is the user. */
  token?: string;
  /** Returns a token; called when there is none, and before the old one ends. */
  getToken?: () => string | Promise<string>;
  /** The name of this device; by default each tab makes one and keeps it. */
  device?: string;
  /** The transports to use, in this order: names, or transports that were imported separately. */
  transports?: (TransportName | Transport)[];
  /** Where the cursor and unsent messages are kept; in browsers by default `localStorage`. `null`: nowhere. */
  storage?: Storage | null;
  /** Where reading starts if there is no kept cursor: `start` means the oldest event; by default the newest. */
  cursor?: string;
  /** Replaces the platform's own, for example in Node before 22, which has no `WebSocket`. */
  WebSocket?: unknown;
  EventSource?: unknown;
  fetch?: typeof fetch;
  /** False: tabs do not share one connection. */
  share?: boolean;
}

/** The events of `on` that are no frames. */
export interface Own {
  /** The connection's state has changed. */
  state: { state: State; transport?: TransportName; error?: SwitchboardError };
  /** The server has a message from the outbox, perhaps one of an earlier page. */
  delivered: Sent & { client_msg_id: string };
  /** A message from the outbox cannot be sent, and was removed. */
  rejected: { client_msg_id: string; entry: Entry; error: SwitchboardError };
  /** The outbox has changed. */
  outbox: Entry[];
  /** Every frame that is handed to the program. */
  event: Frame;
}

export type Events = { [T in FrameType]: Frame<T> } & Own;

export class Switchboard extends Vocabulary {
  readonly #urls: string[];
  readonly #options: Options;
  readonly #tokens: Tokens;
  readonly #platform: Platform;
  readonly #handing = new Handing(() => this.#acknowledgeSoon());
  readonly #commands: Commands;
  readonly #connector: Connector;
  readonly #outbox: Outbox;
  readonly #transports: Transport[];
  readonly #places = new Map<string, number>();
  #keeping: Keeping;
  #state: State = 'disconnected';
  #error: SwitchboardError | undefined;
  #acknowledged = '';
  #url = 0;
  #node = '';
  #begun: Promise<void> | undefined;
  #acknowledging: ReturnType<typeof setTimeout> | undefined;
  #renewing: ReturnType<typeof setTimeout> | undefined;
  #unlisten: (() => void) | undefined;

  /** `urls`: the server's address, for example `https://chat.example.com`; several are tried in turn. */
  constructor(urls: string | string[], options: Options = {}) {
    super();
    this.#urls = [urls].flat().map((url) => url.replace(/^ws/, 'http').replace(/\/+$/, ''));
    this.#options = options;
    this.#tokens = new Tokens(options.token, options.getToken);
    this.#handing.cursor = options.cursor ?? '';
    const global = globalThis as Record<string, unknown>;
    this.#platform = {
      fetch: options.fetch ?? ((input, init) => fetch(input, init)),
      WebSocket: (options.WebSocket ?? global.WebSocket) as typeof WebSocket,
      EventSource: (options.EventSource ?? global.EventSource) as typeof EventSource,
    };
    this.#transports = (options.transports ?? TRANSPORTS).map((wanted) => {
      const found = typeof wanted === 'string' ? TRANSPORTS.find(({ name }) => name === wanted) : wanted;
      if (!found) throw new SwitchboardError('bad_request', `there is no transport \`${String(wanted)}\``);
      return found;
    });
    this.#keeping = this.#keep('');
    this.#outbox = new Outbox({
      line: (entry) => entry.conversation ?? this.direct(entry.to!),
      send: ({ time: _, ...entry }) => this.command({ type: 'send', ...entry }) as Promise<Sent>,
      changed: (entries) => {
        this.#save();
        this.#handing.emit('outbox', entries);
      },
      sent: ({ client_msg_id }, sent) => this.#handing.emit('delivered', { ...sent, client_msg_id }),
      rejected: (entry, error) =>
        this.#handing.emit('rejected', { client_msg_id: entry.client_msg_id, entry, error }),
    });
    this.#commands = new Commands({
      tokens: this.#tokens,
      fetch: this.#platform.fetch,
      twoWay: () => this.#connector.twoWay,
      up: (text) => this.#connector.send(text),
      url: (path) => this.#resource(path, { device: this.#tokens.claims.device ? undefined : this.device }),
    });
    this.#connector = new Connector({
      transports: this.#transports,
      platform: this.#platform,
      opening: (attempt, probe) => this.#opening(attempt, probe),
      frame: (frame) => this.#take(frame),
      reached: (cursor) => this.#reach(cursor),
      changed: (state, error) => this.#change(state, error),
      renew: () => this.#tokens.renew(),
      recall: () => this.#keeping.transport,
      remember: (transport) => (this.#keeping.transport = transport),
      probe: () => this.#probe(),
    });
  }

  /** The state of the connection. */
  get state(): State {
    return this.#state;
  }

  /** Why there is no connection. */
  get error(): SwitchboardError | undefined {
    return this.#error;
  }

  override get user(): string {
    return this.#tokens.claims.sub ?? '';
  }

  /** A valid token; it is renewed first if it ends soon. */
  token(): Promise<string> {
    return this.#tokens.current();
  }

  get device(): string {
    return this.#keeping.device;
  }

  get transport(): TransportName | undefined {
    return this.#connector.transport;
  }

  /** The name of the gateway, if the transport tells it. */
  get node(): string {
    return this.#node;
  }

  /** The cursor up to which the program has been handed everything. */
  get cursor(): string {
    return this.#handing.takenTo;
  }

  /** Messages that the server does not have yet. */
  get outbox(): Entry[] {
    return this.#outbox.entries;
  }

  /** The id of the direct conversation with a user. */
  direct(user: string): string {
    return [this.user, user].sort().join('~');
  }

  /**
   * Connects, and reconnects until `disconnect` is called. Resolves at the first connection; rejects when there is no
   * token.
   */
  async connect(): Promise<void> {
    // After a failure the next call begins again.
    this.#begun ??= this.#begin().catch((thrown) => {
      this.#begun = undefined;
      throw thrown;
    });
    await this.#begun;
    if (this.#state === 'connected') return;
    this.#listen();
    this.#connector.start();
    await new Promise<void>((resolve, reject) => {
      const stop = this.on('state', ({ state, error }) => {
        if (state === 'connecting') return;
        stop();
        if (state === 'connected') resolve();
        else reject(error ?? new SwitchboardError('disconnected', 'disconnected before it was connected'));
      });
    });
  }

  /** Ends the connection. Unsent messages are kept, unless `forget` is true: then everything kept is removed. */
  async disconnect({ forget = false } = {}): Promise<void> {
    this.#acknowledge();
    this.#unlisten?.();
    this.#connector.stop();
    this.#save();
    if (forget) {
      this.#outbox.clear(new SwitchboardError('disconnected', 'disconnected and forgotten'));
      await this.#keeping.forget();
      this.#handing.cursor = this.#acknowledged = '';
      this.#begun = undefined;
    }
  }

  /** Closes the connection and opens a new one: for tests, and after the program has changed an option. */
  reconnect(): void {
    this.#connector.reopen('asked for');
  }

  /** Uses only these transports from now on. */
  use(transports?: TransportName[]): void {
    const wanted = transports?.length
      ? TRANSPORTS.filter(({ name }) => transports.includes(name))
      : TRANSPORTS;
    this.#try(wanted);
    this.#connector.reopen('another transport was chosen');
  }

  /** Calls `listener` for each event of a type. Returns a function that ends this. */
  on<T extends keyof Events>(type: T, listener: (event: Events[T]) => void): () => void {
    return this.#handing.on(type, listener);
  }

  /** Frames as they come. A frame is acknowledged when the next one is asked for. */
  events(): AsyncGenerator<Frame, void, void> {
    return this.#handing.events();
  }

  /**
   * Sends a message, now or when there is a connection again. Rejects only if it cannot succeed (`forbidden`,
   * `too_large` …).
   */
  send(message: Recipient & { body: Json; client_msg_id?: string }): Promise<Sent> {
    const { body, client_msg_id = randomId() + randomId(), ...recipient } = message;
    return this.#outbox.add(recipient, body, client_msg_id);
  }

  /** Subscribes to a channel until `unsubscribe`: brings its publications after seq `after`, or from now on. */
  async subscribe(channel: string, after?: number): Promise<void> {
    this.#places.set(channel, after ?? -1);
    if (this.#state !== 'connected') return;
    if (this.#connector.twoWay) await this.#subscribe(channel);
    else this.#connector.reopen('another channel');
  }

  async unsubscribe(channel: string): Promise<void> {
    if (!this.#places.delete(channel) || this.#state !== 'connected') return;
    if (this.#connector.twoWay) await this.command({ type: 'unsubscribe', channel });
    else this.#connector.reopen('a channel less');
  }

  /** The round trip to the server, in milliseconds. */
  async ping(): Promise<number> {
    const begun = performance.now();
    if (this.#connector.twoWay) await this.command({ type: 'ping' });
    else await pollOnce(await this.#opening(0, true), '', 0);
    return performance.now() - begun;
  }

  override async command<A = Record<string, unknown>>(command: Command): Promise<A> {
    const { type: _, ref: __, cursor: ___, ...answer } = await this.#commands.ask(command);
    return answer as A;
  }

  protected override get twoWay(): boolean {
    return this.#connector.twoWay;
  }

  /** Loads what was kept for this user, and unsent messages of closed tabs. */
  async #begin(): Promise<void> {
    await this.#tokens.current();
    this.#keeping.end();
    this.#keeping = this.#keep(this.user);
    const kept = await this.#keeping.begin(this.#options.device ?? this.#tokens.claims.device);
    this.#handing.cursor = kept.cursor ?? this.#handing.cursor;
    this.#try(this.#transports);
    this.#outbox.restore([...(kept.outbox ?? []), ...(await this.#keeping.adopt())]);
  }

  #keep(user: string): Keeping {
    const { storage } = this.#options;
    const chosen = storage === undefined ? fromBrowser('localStorage') : storage;
    return new Keeping(chosen ?? memory(), new URL(this.#urls[0]!).host, user);
  }

  /** Replaces the transports in the list that the connector reads. */
  #try(transports: Transport[]): void {
    const tried = transports.map((transport) => this.#shared(transport));
    this.#transports.splice(0, this.#transports.length, ...tried);
  }

  #shared(transport: Transport): Transport {
    const share = this.#options.share !== false && transport.name !== 'websocket' && canShare();
    return share ? shared(transport, `${this.#keeping.prefix}:lead`) : transport;
  }

  #save(): void {
    if (this.#keeping.device)
      this.#keeping.keep({ cursor: this.#handing.takenTo, outbox: this.#outbox.entries });
  }

  #resource(path: string, query: Record<string, unknown>): string {
    const text = queryOf(query);
    return `${this.#urls[this.#url]}/v1/${path}${text && (path.includes('?') ? '&' : '?') + text}`;
  }

  async #opening(attempt: number, probe: boolean) {
    if (attempt) this.#url = (this.#url + 1) % this.#urls.length;
    await this.#tokens.current();
    const named = this.#tokens.claims.device;
    const device = named ? undefined : probe ? `${this.device}.probe` : this.device;
    const channels = [...this.#places].map(([name, seq]) => (seq < 0 ? name : `${name}:${seq}`)).join(',');
    const cursor = probe ? '' : this.#handing.cursor;
    const headers = () => ({ authorization: `Bearer ${this.#tokens.last}` });
    return {
      platform: this.#platform,
      cursor,
      headers,
      url: (resource: string, more: Record<string, unknown> = {}) =>
        this.#resource(resource, {
          device,
          cursor,
          channels: probe || resource === 'ws' ? undefined : channels,
          ...more,
        }),
      ticket: async () => {
        const url = this.#resource('tickets', { device });
        const answer = await request(
          this.#platform.fetch,
          url,
          { method: 'POST', headers: headers() },
          10_000,
        );
        return (await answer.json()).ticket as string;
      },
    };
  }

  /** Handles a frame from the connection. */
  #take(frame: Frame): void {
    switch (frame.type) {
      case 'welcome':
        this.#node = frame.node;
        this.#handing.cursor ||= frame.cursor;
        if (!frame.resumed) this.#reach(frame.cursor);
        return this.#handing.hand(frame);
      case 'sent':
      case 'ok':
      case 'pong':
      case 'error': {
        const command = this.#commands.answered(frame);
        if (frame.type === 'error' && !command) this.#handing.emit('error', frame);
        // The answer stands for the message itself, so the program gets that,
        // too.
        if (frame.type === 'sent' && frame.cursor && command?.type === 'send') this.#own(frame, command);
        return;
      }
      case 'goaway':
        return this.#goaway(frame);
      case 'publication':
        if (frame.seq <= (this.#places.get(frame.channel) ?? -1)) return;
        this.#places.set(frame.channel, frame.seq);
        break;
      case 'channel_reset':
        this.#places.set(frame.channel, frame.seq);
    }
    this.#handing.hand(frame, 'cursor' in frame ? frame.cursor : undefined);
  }

  #own({ conversation, seq, time, cursor }: Frame<'sent'>, command: Command): void {
    const { body, client_msg_id } = command as Command & Entry;
    const message = { conversation: conversation!, seq, from: this.user, time, body, client_msg_id };
    this.#handing.hand({ type: 'message', cursor: cursor!, ...message }, cursor);
  }

  #reach(cursor: string): void {
    this.#handing.cursor = cursor;
    this.#acknowledgeSoon();
  }

  #goaway({ reason, reconnect_in_ms }: Frames['goaway']): void {
    this.#handing.hand({ type: 'goaway', reason, ...(reconnect_in_ms !== undefined && { reconnect_in_ms }) });
    if (reason === 'replaced' || reason === 'kicked' || reason === 'revoked') {
      this.#unlisten?.();
      this.#connector.stop(new SwitchboardError(reason, `the server ended the session: ${reason}`));
    } else if (reason === 'token_expired') {
      this.#tokens.renew().then(
        () => this.#connector.reopen('with another token'),
        (error) => this.#connector.stop(error),
      );
    } else {
      this.#connector.leaveAfter(reconnect_in_ms ?? 0);
    }
  }

  #change(state: State, error?: SwitchboardError): void {
    if (state === this.#state && !error) return;
    const was = this.#state;
    this.#state = state;
    this.#error = error;
    clearTimeout(this.#renewing);
    if (state === 'connected') {
      this.#renewLater();
      if (this.#connector.twoWay) {
        for (const channel of this.#places.keys()) this.#subscribe(channel).catch(() => {});
      }
    } else if (was === 'connected') {
      this.#commands.ended(error?.message ?? 'the connection ended before the answer');
    }
    const transport = this.transport;
    this.#handing.emit('state', { state, ...(transport && { transport }), ...(error && { error }) });
    this.#outbox.open = state === 'connected';
  }

  async #subscribe(channel: string): Promise<void> {
    const after = this.#places.get(channel) ?? -1;
    const range = after < 0 ? {} : { after };
    const answer = await this.command<{ seq: number; publications?: Frames['publication'][] }>({
      type: 'subscribe',
      channel,
      ...range,
    });
    for (const publication of answer.publications ?? []) this.#take({ type: 'publication', ...publication });
    const place = this.#places.get(channel);
    if (place !== undefined && place < answer.seq && after < 0) this.#places.set(channel, answer.seq);
  }

  #renewLater(): void {
    const { left } = this.#tokens;
    if (!this.#tokens.renewable || left === Infinity) return;
    // A timer can wait for at most 24 days.
    const pause = Math.min(Math.max(left, 1000), 2 ** 31 - 1);
    this.#renewing = setTimeout(async () => {
      try {
        if (this.#tokens.left <= 0) {
          const token = await this.#tokens.renew();
          if (this.#connector.twoWay) await this.command({ type: 'auth', token });
          else this.#connector.reopen('with another token');
        }
      } catch {
        // The server tells when the old token has ended.
      }
      if (this.#state === 'connected') this.#renewLater();
    }, pause);
  }

  #acknowledgeSoon(): void {
    this.#acknowledging ??= setTimeout(() => this.#acknowledge(), ACKNOWLEDGE);
  }

  /** Acknowledges what has been handed out, and keeps the cursor. */
  #acknowledge(): void {
    clearTimeout(this.#acknowledging);
    this.#acknowledging = undefined;
    const cursor = this.#handing.takenTo;
    this.#save();
    if (!cursor || cursor === this.#acknowledged || this.#state !== 'connected') return;
    this.#acknowledged = cursor;
    const { transport } = this;
    // A poll acknowledges by its cursor.
    if (transport === 'poll' || transport === 'short-poll') return;
    this.command({ type: 'ack', cursor }).catch(() => (this.#acknowledged = ''));
  }

  /** Whether the server answers, and the connection has not missed an event. */
  async #probe(): Promise<boolean> {
    if (this.#connector.twoWay) {
      await this.#commands.askUp({ type: 'ping' }, PONG_WITHIN);
      return true;
    }
    const opening = await this.#opening(0, false);
    const { events } = await pollOnce(opening, this.#handing.cursor, 0);
    return !events.some((event) => event.type !== 'receipt');
  }

  /** Listens to the page's events about visibility and network. */
  #listen(): void {
    if (this.#unlisten || typeof addEventListener !== 'function') return;
    const look = () => document.visibilityState === 'visible' && void this.#connector.look();
    const listeners: [EventTarget, string, (event: Event) => void][] = [
      [globalThis as unknown as EventTarget, 'online', () => void this.#connector.look()],
      [
        globalThis as unknown as EventTarget,
        'pageshow',
        (event) => (event as PageTransitionEvent).persisted && void this.#connector.look(),
      ],
      [globalThis as unknown as EventTarget, 'pagehide', () => this.#save()],
    ];
    if (typeof document === 'object') listeners.push([document, 'visibilitychange', look]);
    for (const [target, type, listener] of listeners) target.addEventListener(type, listener);
    this.#unlisten = () => {
      for (const [target, type, listener] of listeners) target.removeEventListener(type, listener);
      this.#unlisten = undefined;
    };
  }
}

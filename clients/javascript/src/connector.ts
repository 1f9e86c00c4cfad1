/**
 * Keeps one connection: picks a transport, opens it with a time limit, tries the next one if it does not work,
 * reconnects with growing pauses, and later tries a better one again. The host keeps the cursor, so a change of
 * transport loses nothing.
 */

import { asError, SwitchboardError } from './error.js';
import type { Frame } from './frames.js';
import type { Link, Opening, Platform, Transport, TransportName } from './transports/transport.js';

export type State = 'connecting' | 'connected' | 'disconnected';

/** What the connector needs from its owner. */
export interface Host {
  readonly transports: Transport[];
  readonly platform: Platform;
  /** The URL and options to open with. With `probe` it uses a device id of its own, which replaces no session. */
  opening(attempt: number, probe: boolean): Promise<Pick<Opening, 'url' | 'cursor' | 'headers' | 'ticket'>>;
  frame(frame: Frame): void;
  reached(cursor: string): void;
  /** The state has changed: a connection now carries frames, or none does. */
  changed(state: State, error?: SwitchboardError): void;
  /** Asks for a new token; throws if there is none. */
  renew(): Promise<unknown>;
  /** The transport that worked here before. */
  recall(): string | null;
  remember(transport: TransportName): void;
  /** Whether the server answers, and the connection has not missed an event. */
  probe(): Promise<boolean>;
}

/** Milliseconds for a transport to bring its `welcome`; doubled after each round in which none did. */
const OPEN_WITHIN = 2_500;
/** The range of pauses between attempts, in milliseconds: full jitter below a growing ceiling. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 20_000;
/** A connection that ends sooner than this (ms) was cut. After two in a row the transport is left. */
const SHORT_LIFE = 10_000;
const CUTS = 2;
/** Milliseconds before a transport that failed is tried again; doubled each time up to the longest. */
const LEFT_FOR = 60_000;
const LEFT_AT_MOST = 15 * 60_000;
/** Milliseconds between two checks of the clock. A larger gap means that the machine slept. */
const TICK = 5_000;
const SLEPT = 15_000;

/** The failures of a transport. */
interface Trouble {
  cuts: number;
  times: number;
  until: number;
}

interface Running {
  transport: Transport;
  link: Link;
  since: number;
  /** Resolves when it is over. */
  ended: Promise<SwitchboardError>;
  end(error: SwitchboardError): void;
}

export class Connector {
  readonly #host: Host;
  readonly #trouble = new Map<TransportName, Trouble>();
  #wanted = false;
  #running: Running | undefined;
  #attempt = 0;
  /** How many rounds in a row no transport worked. */
  #rounds = 0;
  #wake: (() => void) | undefined;
  #notBefore = 0;
  #heard = 0;
  #heartbeat = 25_000;
  #looked = 0;
  #looking = false;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #better: ReturnType<typeof setTimeout> | undefined;
  /** The number of the running loop: an older loop ends when a new one has begun. */
  #round = 0;

  constructor(host: Host) {
    this.#host = host;
  }

  get transport(): TransportName | undefined {
    return this.#running?.transport.name;
  }

  /** Sends over the open connection; returns false if commands go another way. */
  send(text: string): boolean {
    const send = this.#running?.link.send;
    if (!send) return false;
    send(text);
    return true;
  }

  get twoWay(): boolean {
    return !!this.#running?.link.send;
  }

  start(): void {
    if (this.#wanted) return this.hurry();
    this.#wanted = true;
    this.#attempt = 0;
    this.#looked = Date.now();
    this.#ticker = setInterval(() => this.#tick(), TICK);
    (this.#ticker as { unref?(): void }).unref?.();
    void this.#run(++this.#round);
  }

  stop(error?: SwitchboardError): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    clearInterval(this.#ticker);
    clearTimeout(this.#better);
    const running = this.#running;
    this.#running = undefined;
    running?.link.close();
    this.#wake?.();
    this.#host.changed('disconnected', error);
  }

  /** Tries now instead of after the pause, since the network is said to be back. */
  hurry(): void {
    this.#attempt = 0;
    this.#wake?.();
  }

  /** Opens a new connection, at once or after `pause` (ms): with other channels, a new token, or elsewhere. */
  reopen(reason: string, pause = 0): void {
    this.#notBefore = Date.now() + pause;
    this.#running?.end(new SwitchboardError('disconnected', reason));
  }

  /** Reconnects after `pause` (ms), as the server asked with `goaway`; until then the connection is used. */
  leaveAfter(pause: number): void {
    const running = this.#running;
    this.#notBefore = Date.now() + pause;
    setTimeout(() => running?.end(new SwitchboardError('disconnected', 'the server restarts')), pause);
  }

  /** Checks that the connection still works; opens a new one if not. */
  async look(): Promise<void> {
    const running = this.#running;
    if (!running || this.#looking) return this.hurry();
    this.#looking = true;
    const fine = await this.#host.probe().catch(() => false);
    this.#looking = false;
    if (!fine && running === this.#running) this.reopen('nothing comes through');
  }

  #tick(): void {
    const now = Date.now();
    const slept = now - this.#looked > SLEPT;
    this.#looked = now;
    const silent = this.#heartbeat > 0 && now - this.#heard > 2 * this.#heartbeat;
    if (slept || silent) {
      this.#heard = now;
      void this.look();
    }
  }

  /** The transports that may work, in the order in which to try them. */
  #order(): Transport[] {
    const { transports, platform } = this.#host;
    const usable = transports.filter((transport) => transport.usable(platform));
    const now = Date.now();
    const fine = usable.filter(({ name }) => (this.#trouble.get(name)?.until ?? 0) <= now);
    const order = fine.length ? fine : usable;
    const worked = this.#host.recall();
    const first = order.find(({ name }) => name === worked);
    return first ? [first, ...order.filter((other) => other !== first)] : order;
  }

  #leave(transport: Transport): void {
    const times = (this.#trouble.get(transport.name)?.times ?? 0) + 1;
    const until = Date.now() + Math.min(LEFT_FOR * 2 ** (times - 1), LEFT_AT_MOST);
    this.#trouble.set(transport.name, { cuts: 0, times, until });
  }

  async #run(round: number): Promise<void> {
    let refused = 0;
    while (this.#wanted && round === this.#round) {
      this.#host.changed('connecting');
      const failed: Transport[] = [];
      let last: SwitchboardError | undefined;
      let running: Running | undefined;
      for (const transport of this.#order()) {
        try {
          running = await this.#open(transport, round);
          break;
        } catch (thrown) {
          last = asError(thrown);
          if (!this.#wanted || round !== this.#round) return;
          failed.push(transport);
          // These errors are about the caller, not about the transport.
          if (['unauthorized', 'forbidden', 'rate_limited', 'bad_request'].includes(last.code)) break;
        }
      }
      if (!running) {
        const code = last?.code;
        if (code === 'unauthorized' && refused++ < 2) {
          const error = await this.#host.renew().then(() => undefined, asError);
          if (!error) continue;
          if (!error.temporary) return this.stop(error);
          last = error;
        } else if (code === 'unauthorized' || code === 'forbidden' || code === 'bad_request') {
          return this.stop(last);
        }
        this.#rounds++;
        this.#host.changed('connecting', last);
        await this.#pause(last?.retryAfterMs);
        continue;
      }
      refused = this.#rounds = 0;
      failed.forEach((transport) => this.#leave(transport));
      this.#host.remember(running.transport.name);
      this.#seekBetter(running, round);
      this.#running = running;
      this.#host.changed('connected');
      const error = await running.ended;
      clearTimeout(this.#better);
      if (!this.#wanted || round !== this.#round) return;
      this.#running = undefined;
      running.link.close();
      await this.#afterwards(running, error);
    }
  }

  /** Decides what the end of a connection means, and waits accordingly. */
  async #afterwards(running: Running, error: SwitchboardError): Promise<void> {
    const asked = this.#notBefore - Date.now();
    const planned = this.#notBefore > 0;
    this.#notBefore = 0;
    this.#host.changed('connecting', error);
    if (planned) {
      if (asked > 0) await this.#pause(asked, true);
      return;
    }
    const lived = Date.now() - running.since;
    const trouble = this.#trouble.get(running.transport.name) ?? { cuts: 0, times: 0, until: 0 };
    trouble.cuts = lived < SHORT_LIFE ? trouble.cuts + 1 : 0;
    this.#trouble.set(running.transport.name, trouble);
    if (trouble.cuts >= CUTS) this.#leave(running.transport);
    if (lived >= SHORT_LIFE) this.#attempt = 0;
    await this.#pause();
  }

  /** Opens a transport; resolves when its `welcome` has come. */
  async #open(transport: Transport, round: number): Promise<Running> {
    const given = await this.#host.opening(this.#attempt, false);
    if (!this.#wanted || round !== this.#round) throw new SwitchboardError('disconnected', 'stopped');
    const limit = OPEN_WITHIN * 2 ** Math.min(this.#rounds, 3);
    return new Promise((resolve, reject) => {
      let link: Link | undefined = undefined;
      let end!: (error: SwitchboardError) => void;
      const ended = new Promise<SwitchboardError>((over) => (end = over));
      let open = false;
      const fail = (error: SwitchboardError) => {
        clearTimeout(timer);
        if (open) return end(error);
        (link as Link | undefined)?.close();
        reject(error);
      };
      const timer = setTimeout(
        () => fail(new SwitchboardError('timeout', `${transport.name} brought nothing within ${limit} ms`)),
        limit,
      );
      const hear = () => (this.#heard = Date.now());
      link = transport.open({
        ...given,
        platform: this.#host.platform,
        end: fail,
        alive: hear,
        reached: (cursor) => {
          hear();
          this.#host.reached(cursor);
        },
        frame: (frame) => {
          hear();
          if (frame.type === 'welcome' && !open) {
            open = true;
            clearTimeout(timer);
            this.#heartbeat = frame.heartbeat_ms;
            this.#host.frame(frame);
            resolve({ transport, link: link!, since: Date.now(), ended, end });
          } else {
            this.#host.frame(frame);
          }
        },
      });
    });
  }

  /** If a better transport was left, tries it beside the present one, and changes to it if it works. */
  #seekBetter(running: Running, round: number): void {
    const { transports, platform } = this.#host;
    const rank = transports.indexOf(running.transport);
    const better = transports.slice(0, Math.max(rank, 0)).filter((transport) => transport.usable(platform));
    if (!better.length) return;
    const due = Math.min(...better.map(({ name }) => this.#trouble.get(name)?.until ?? 0)) - Date.now();
    this.#better = setTimeout(
      async () => {
        for (const transport of better) {
          if ((this.#trouble.get(transport.name)?.until ?? 0) > Date.now()) continue;
          const works = await this.#works(transport).catch(() => false);
          if (running !== this.#running || round !== this.#round) return;
          if (works) {
            this.#host.remember(transport.name);
            this.#trouble.delete(transport.name);
            return this.reopen(`${transport.name} works again`);
          }
          this.#leave(transport);
        }
        this.#seekBetter(running, round);
      },
      Math.max(due, LEFT_FOR / 2),
    );
  }

  /** Whether a transport brings its `welcome`, tried with a device id of its own. */
  async #works(transport: Transport): Promise<boolean> {
    const given = await this.#host.opening(0, true);
    return new Promise((resolve) => {
      let link: Link | undefined = undefined;
      const done = (works: boolean) => {
        clearTimeout(timer);
        // Not within the transport's own call.
        setTimeout(() => (link as Link | undefined)?.close());
        resolve(works);
      };
      const timer = setTimeout(() => done(false), OPEN_WITHIN);
      link = transport.open({
        ...given,
        platform: this.#host.platform,
        frame: (frame) => frame.type === 'welcome' && done(true),
        alive() {},
        reached() {},
        end: () => done(false),
      });
    });
  }

  /** Waits: as long as was asked, else a random time below a growing ceiling. */
  async #pause(asked?: number, exact = false): Promise<void> {
    const ceiling = Math.min(FIRST_PAUSE * 2 ** this.#attempt, LONGEST_PAUSE);
    this.#attempt++;
    const pause = exact ? asked! : Math.max(Math.random() * ceiling, asked ?? 0);
    await new Promise<void>((over) => {
      this.#wake = over;
      setTimeout(over, pause);
    });
    this.#wake = undefined;
  }
}

/**
 * Messages on their way: kept until the server has them, sent in order within
 * a conversation, once. Each has its `client_msg_id` from the beginning, so that
 * a try whose answer was lost may be repeated.
 */

import { SwitchboardError, asError } from './error.js';
import type { Json, Recipient, Sent } from './frames.js';

/** A message that waits. */
export interface Entry {
  client_msg_id: string;
  to?: string;
  conversation?: string;
  body: Json;
  /** When the program gave it, Unix milliseconds. */
  time: number;
}

/** The server knows a repeat for 24 hours; after that a message could come twice. */
const REPEATABLE = 23 * 3_600_000;
/** The range of pauses before another try, in milliseconds: full jitter below a growing ceiling. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 20_000;

interface Waiting {
  entry: Entry;
  line: string;
  tries: number;
  settle?: { resolve(sent: Sent): void; reject(error: SwitchboardError): void };
}

export interface Sending {
  /** The conversation that a message goes to: its line. */
  line(entry: Entry): string;
  /** Asks the server once. */
  send(entry: Entry): Promise<Sent>;
  /** The list has changed: keep it. */
  changed(entries: Entry[]): void;
  sent(entry: Entry, sent: Sent): void;
  rejected(entry: Entry, error: SwitchboardError): void;
}

export class Outbox {
  readonly #sending: Sending;
  readonly #waiting: Waiting[] = [];
  /** Lines of which a message is under way. */
  readonly #busy = new Set<string>();
  #open = false;
  #notBefore = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(sending: Sending) {
    this.#sending = sending;
  }

  get entries(): Entry[] {
    return this.#waiting.map(({ entry }) => entry);
  }

  /** Takes a message; the promise says what became of it. */
  add(recipient: Recipient, body: Json, client_msg_id: string): Promise<Sent> {
    const entry: Entry = { ...recipient, body, client_msg_id, time: Date.now() };
    return new Promise((resolve, reject) => {
      this.#push(entry, { resolve, reject });
      this.#changed();
      this.#go();
    });
  }

  /** Takes what an earlier page or another tab had not sent. */
  restore(entries: Entry[]): void {
    const known = new Set(this.#waiting.map(({ entry }) => entry.client_msg_id));
    entries.filter((entry) => !known.has(entry.client_msg_id)).forEach((entry) => this.#push(entry));
    this.#waiting.sort((a, b) => a.entry.time - b.entry.time);
    this.#changed();
    this.#go();
  }

  #push(entry: Entry, settle?: Waiting['settle']): void {
    this.#waiting.push({ entry, line: this.#sending.line(entry), tries: 0, ...(settle && { settle }) });
  }

  /** Messages may go, or must wait. */
  set open(open: boolean) {
    this.#open = open;
    if (open) this.#go();
  }

  /** Gives everything back as not sent. */
  clear(error: SwitchboardError): void {
    this.#waiting.splice(0).forEach(({ settle }) => settle?.reject(error));
    this.#changed();
  }

  #changed(): void {
    this.#sending.changed(this.entries);
  }

  #go(): void {
    if (!this.#open) return;
    const wait = this.#notBefore - Date.now();
    if (wait > 0) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#go(), wait);
      return;
    }
    for (const waiting of [...this.#waiting]) {
      // The first of its line goes; those behind it wait for its answer.
      if (this.#busy.has(waiting.line)) continue;
      this.#busy.add(waiting.line);
      void this.#try(waiting);
    }
  }

  async #try(waiting: Waiting): Promise<void> {
    const { entry, line } = waiting;
    try {
      if (Date.now() - entry.time > REPEATABLE) {
        throw new SwitchboardError('expired', 'the message waited for a day; sending it now could repeat it');
      }
      const sent = await this.#sending.send(entry);
      this.#remove(waiting);
      waiting.settle?.resolve(sent);
      this.#sending.sent(entry, sent);
    } catch (thrown) {
      const error = asError(thrown);
      if (error.temporary || error.code === 'unauthorized') {
        const ceiling = Math.min(FIRST_PAUSE * 2 ** waiting.tries++, LONGEST_PAUSE);
        const pause = Math.max(error.retryAfterMs ?? 0, Math.random() * ceiling);
        this.#notBefore = Math.max(this.#notBefore, Date.now() + pause);
      } else {
        // It cannot succeed; those behind it may.
        this.#remove(waiting);
        waiting.settle?.reject(error);
        this.#sending.rejected(entry, error);
      }
    }
    this.#busy.delete(line);
    this.#go();
  }

  #remove(waiting: Waiting): void {
    const index = this.#waiting.indexOf(waiting);
    if (index >= 0) this.#waiting.splice(index, 1);
    this.#changed();
  }
}

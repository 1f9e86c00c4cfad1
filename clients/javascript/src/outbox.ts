/**
 * The outbox: messages are kept until the server has them, and sent once and in order within a conversation. Each has
 * a `client_msg_id` from the beginning, so it may be sent again when an answer was lost.
 */

import { SwitchboardError, asError } from './error.js';
import type { Json, Recipient, Sent } from './frames.js';

/** A message that waits to be sent. */
export interface Entry {
  client_msg_id: string;
  to?: string;
  conversation?: string;
  body: Json;
  /** When the program called `send`, Unix milliseconds. */
  time: number;
}

/** The server recognises a repeat for 24 hours; after that a message could come twice. */
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
  /** The conversation that a message goes to: messages of one line are sent one after the other. */
  line(entry: Entry): string;
  /** Sends to the server once. */
  send(entry: Entry): Promise<Sent>;
  /** The list has changed and should be kept. */
  changed(entries: Entry[]): void;
  sent(entry: Entry, sent: Sent): void;
  rejected(entry: Entry, error: SwitchboardError): void;
}

export class Outbox {
  readonly #sending: Sending;
  readonly #waiting: Waiting[] = [];
  /** The lines that have a message under way. */
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

  /** Adds a message. The promise resolves when the server has it, and rejects when it cannot be sent. */
  add(recipient: Recipient, body: Json, client_msg_id: string): Promise<Sent> {
    const entry: Entry = { ...recipient, body, client_msg_id, time: Date.now() };
    return new Promise((resolve, reject) => {
      this.#push(entry, { resolve, reject });
      this.#changed();
      this.#go();
    });
  }

  /** Adds messages that an earlier page or another tab had not sent. */
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

  /** Whether messages may be sent now. */
  set open(open: boolean) {
    this.#open = open;
    if (open) this.#go();
  }

  /** Rejects all messages, and removes them. */
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
      // The first of a line is sent; those behind it wait for its answer.
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
        // This one cannot succeed; those behind it may.
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

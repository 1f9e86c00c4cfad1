/**
 * Hands frames to the program: to listeners at once, to `events()` when it asks. Keeps the cursor up to which the
 * program has taken everything.
 */

import type { Switchboard, Events } from './client.js';
import type { Frame } from './frames.js';

/** Frames that `events()` was not asked for yet. */
interface Reader {
  queue: { frame: Frame; before: string; number: number }[];
  wake: () => void;
}

export class Handing {
  readonly #listeners = new Map<string, Set<(event: never) => void>>();
  readonly #readers = new Set<Reader>();
  readonly #taken: () => void;
  #handed = 0;
  /** The cursor up to which frames have come. */
  cursor = '';

  /** Calls `taken` whenever the program has taken something. */
  constructor(taken: () => void) {
    this.#taken = taken;
  }

  on: Switchboard['on'] = (type, listener) => {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    listeners.add(listener as (event: never) => void);
    return () => void listeners.delete(listener as (event: never) => void);
  };

  emit<T extends keyof Events>(type: T, event: Events[T]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        (listener as (event: Events[T]) => void)(event);
      } catch (thrown) {
        // An error in the program's listener must not lose the next events.
        setTimeout(() => {
          throw thrown;
        });
      }
    }
  }

  async *events(): AsyncGenerator<Frame, void, void> {
    const reader: Reader = { queue: [], wake: () => {} };
    this.#readers.add(reader);
    try {
      for (;;) {
        const next = reader.queue[0];
        if (next) {
          yield next.frame;
          // Asking for the next frame means that this one was taken.
          reader.queue.shift();
          this.#taken();
        } else {
          await new Promise<void>((over) => (reader.wake = over));
        }
      }
    } finally {
      this.#readers.delete(reader);
    }
  }

  /** Gives a frame to the program. Its cursor, if it has one, counts once the frame was taken. */
  hand(frame: Frame, place?: string): void {
    const before = this.cursor;
    this.cursor = place ?? before;
    this.#handed++;
    for (const reader of this.#readers) {
      reader.queue.push({ frame, before, number: this.#handed });
      reader.wake();
    }
    this.emit(frame.type, frame as never);
    this.emit('event', frame);
    this.#taken();
  }

  /** The cursor before the first frame that was not taken yet. */
  get takenTo(): string {
    const first = [...this.#readers]
      .flatMap(({ queue }) => queue.slice(0, 1))
      .sort((a, b) => a.number - b.number)[0];
    return first ? first.before : this.cursor;
  }
}

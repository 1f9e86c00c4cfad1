/** Commands and their answers: over the open connection if it goes both ways, else as HTTP requests. */

import { errorOfFrame, SwitchboardError } from './error.js';
import type { Command, Frame } from './frames.js';
import { request, requestOf } from './http.js';
import type { Tokens } from './token.js';

/** Milliseconds until a command without an answer is given up. */
const ANSWER_WITHIN = 15_000;
/** Commands that are not repeated: a second attempt would act twice, or would be of no use. */
const NOT_AGAIN = ['send', 'create_group', 'ping'];

export type Answer = Record<string, unknown>;

/** The ways to the server. */
export interface Ways {
  readonly tokens: Tokens;
  readonly fetch: typeof fetch;
  /** Whether the connection takes commands now. */
  twoWay(): boolean;
  /** Sends over the connection; returns false if there is none that takes commands. */
  up(text: string): boolean;
  /** The URL of a resource for this device. */
  url(path: string): string;
}

interface Pending {
  command: Command;
  resolve(frame: Frame): void;
  reject(error: SwitchboardError): void;
}

export class Commands {
  readonly #ways: Ways;
  readonly #pending = new Map<number, Pending>();
  #reference = 0;

  constructor(ways: Ways) {
    this.#ways = ways;
  }

  async ask(command: Command): Promise<Answer> {
    if (this.#ways.twoWay()) {
      try {
        return (await this.askUp(command)) as unknown as Answer;
      } catch (thrown) {
        const { code } = thrown as SwitchboardError;
        if (code !== 'disconnected' || NOT_AGAIN.includes(command.type)) throw thrown;
      }
    }
    return this.#askHttp(command);
  }

  /** Asks over the connection; rejects when the connection ends. */
  askUp(command: Command, within = ANSWER_WITHIN): Promise<Frame> {
    const ref = ++this.#reference;
    return new Promise<Frame>((resolve, reject) => {
      const over = () => {
        clearTimeout(timer);
        this.#pending.delete(ref);
      };
      const pending: Pending = {
        command,
        resolve(frame) {
          over();
          resolve(frame);
        },
        reject(error) {
          over();
          reject(error);
        },
      };
      const timer = setTimeout(
        () => pending.reject(new SwitchboardError('timeout', `no answer within ${within} ms`)),
        within,
      );
      this.#pending.set(ref, pending);
      if (!this.#ways.up(JSON.stringify({ ref, ...command }))) {
        pending.reject(new SwitchboardError('disconnected', 'there is no connection'));
      }
    });
  }

  /** Handles an answer. Returns the command that it answers, if somebody waits for it. */
  answered(frame: Frame<'sent' | 'ok' | 'pong' | 'error'>): Command | undefined {
    const pending = this.#pending.get(frame.ref as number);
    if (frame.type === 'error') pending?.reject(errorOfFrame(frame));
    else pending?.resolve(frame);
    return pending?.command;
  }

  /** The connection has ended: rejects all commands without an answer. */
  ended(why: string): void {
    for (const pending of [...this.#pending.values()]) {
      pending.reject(new SwitchboardError('disconnected', why));
    }
  }

  async #askHttp(command: Command, again = true): Promise<Answer> {
    const { tokens, fetch, url } = this.#ways;
    const { method, path, body } = requestOf(command);
    const token = await tokens.current();
    const init: RequestInit = {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body }),
    };
    try {
      return await (await request(fetch, url(path), init, ANSWER_WITHIN)).json();
    } catch (thrown) {
      const refused = (thrown as SwitchboardError).code === 'unauthorized';
      if (!refused || !again || !tokens.renewable) throw thrown;
      await tokens.renew();
      return this.#askHttp(command, false);
    }
  }
}

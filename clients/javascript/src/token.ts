/** Tokens: the one that holds now, renewed before it ends. */

import { SwitchboardError } from './error.js';

/** Renewed this long before its end, or after four fifths of its life if that is later. */
const MARGIN = 30_000;

/** The claims of a JWT that a client may look at. It does not check them. */
export function claimsOf(token: string): { sub?: string; exp?: number; iat?: number; device?: string } {
  try {
    const part = token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/');
    return JSON.parse(atob(part));
  } catch {
    return {};
  }
}

export class Tokens {
  #token: string | undefined;
  readonly #source: (() => string | Promise<string>) | undefined;
  #renewing: Promise<string> | undefined;

  constructor(token: string | undefined, source: (() => string | Promise<string>) | undefined) {
    this.#token = token;
    this.#source = source;
  }

  /** Whether another one can be had. */
  get renewable(): boolean {
    return !!this.#source;
  }

  get claims() {
    return claimsOf(this.#token ?? '');
  }

  /** The last one, for places that cannot wait. */
  get last(): string {
    return this.#token ?? '';
  }

  /** Milliseconds until it should be renewed; infinite where nothing says when it ends. */
  get left(): number {
    const { exp, iat } = this.claims;
    if (!exp) return Infinity;
    const margin = iat ? Math.min(MARGIN, (exp - iat) * 200) : MARGIN;
    return exp * 1000 - margin - Date.now();
  }

  /** One that holds, as far as the clock here can tell. */
  async current(): Promise<string> {
    return this.#token && (this.left > 0 || !this.#source) ? this.#token : this.renew();
  }

  /** Asks the program for another one; whoever asks meanwhile gets the same. */
  renew(): Promise<string> {
    const source = this.#source;
    if (!source) {
      return Promise.reject(
        new SwitchboardError('unauthorized', 'the token does not hold, and there is no `getToken`'),
      );
    }
    this.#renewing ??= Promise.resolve()
      .then(source)
      .then(
        (token) => (this.#token = token),
        (thrown) => {
          if (thrown instanceof SwitchboardError) throw thrown;
          // Whatever the program throws: its own server may be away for a moment.
          throw new SwitchboardError('unavailable', `getToken failed: ${thrown}`);
        },
      )
      .finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }
}

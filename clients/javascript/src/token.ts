/** Tokens: keeps the present one, and renews it before it ends. */

import { SwitchboardError } from './error.js';

/** A token is renewed this many milliseconds before its end, or after four fifths of its life if that is later. */
const MARGIN = 30_000;

/** The claims of a JWT that the client reads. It does not verify the token. */
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

  /** Whether the program can give a new token. */
  get renewable(): boolean {
    return !!this.#source;
  }

  get claims() {
    return claimsOf(this.#token ?? '');
  }

  /** The last token, for code that cannot wait. */
  get last(): string {
    return this.#token ?? '';
  }

  /** Milliseconds until it should be renewed; infinite if its end is not known. */
  get left(): number {
    const { exp, iat } = this.claims;
    if (!exp) return Infinity;
    const margin = iat ? Math.min(MARGIN, (exp - iat) * 200) : MARGIN;
    return exp * 1000 - margin - Date.now();
  }

  /** A token that is valid by the clock of this machine. */
  async current(): Promise<string> {
    return this.#token && (this.left > 0 || !this.#source) ? this.#token : this.renew();
  }

  /** Asks the program for a new token. Calls at the same time share one request. */
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
          // The program may throw anything: its own server may be away for a
          // moment.
          throw new SwitchboardError('unavailable', `getToken failed: ${thrown}`);
        },
      )
      .finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }
}

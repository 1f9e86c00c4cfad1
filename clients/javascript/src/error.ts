/** The one class of errors: the protocol's codes, and a few of the client's own. */

/**
 * Of the protocol: `bad_request`, `unauthorized`, `forbidden`, `not_found`,
 * `conflict`, `too_large`, `rate_limited`, `internal`, `unavailable`.
 * Of the client: `disconnected` (no connection, or it broke before the answer),
 * `timeout` (nothing came in time), `expired` (a message that waited for more
 * than a day), `replaced`, `kicked` and `revoked` (the server ended the session).
 */
export type ErrorCode =
  | 'bad_request'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'too_large'
  | 'rate_limited'
  | 'internal'
  | 'unavailable'
  | 'disconnected'
  | 'timeout'
  | 'expired'
  | 'replaced'
  | 'kicked'
  | 'revoked';

/** What every rejected promise of the client holds. */
export class SwitchboardError extends Error {
  override readonly name = 'SwitchboardError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    /** A retry before this many milliseconds have passed is refused again. */
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }

  /** Whether the same request may succeed later, without any change. */
  get temporary(): boolean {
    return ['rate_limited', 'internal', 'unavailable', 'disconnected', 'timeout'].includes(this.code);
  }
}

const BY_STATUS: Record<number, ErrorCode> = {
  400: 'bad_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  413: 'too_large',
  429: 'rate_limited',
  500: 'internal',
};

/** The error of an HTTP response that is no success. */
export async function errorOf(response: Response): Promise<SwitchboardError> {
  let body: { code?: ErrorCode; message?: string; retry_after_ms?: number } = {};
  try {
    body = await response.json();
  } catch {
    // A proxy's own page: the status is enough.
  }
  const after = Number(response.headers.get('retry-after'));
  return new SwitchboardError(
    // A proxy's 502 and 504 mean the same as the protocol's 503.
    body.code ?? BY_STATUS[response.status] ?? 'unavailable',
    body.message ?? `the server answered with the status ${response.status}`,
    body.retry_after_ms ?? (after > 0 ? after * 1000 : undefined),
  );
}

/** The error of an error frame. */
export function errorOfFrame(frame: {
  code: string;
  message: string;
  retry_after_ms?: number;
}): SwitchboardError {
  return new SwitchboardError(frame.code as ErrorCode, frame.message, frame.retry_after_ms);
}

/** Converts anything that was thrown into this class. */
export function asError(thrown: unknown): SwitchboardError {
  if (thrown instanceof SwitchboardError) return thrown;
  return new SwitchboardError('disconnected', thrown instanceof Error ? thrown.message : String(thrown));
}

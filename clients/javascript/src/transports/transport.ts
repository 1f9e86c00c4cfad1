/** What a transport is: a way in which frames travel. One file each, beside this one. */

import type { SwitchboardError } from '../error.js';
import type { Frame } from '../frames.js';

export type TransportName = 'websocket' | 'sse' | 'stream' | 'poll' | 'short-poll' | 'iframe' | 'shared';

/** What a connection is opened with, and where its frames go. */
export interface Opening {
  /** The URL of a resource under `/v1`, with the session's device, cursor and channels in its query. */
  url(resource: string, more?: Record<string, unknown>): string;
  /** Where reading starts; empty: at the head. */
  readonly cursor: string;
  /** For places that can set headers. */
  headers(): Record<string, string>;
  /** For places that cannot: good for one connection, 30 seconds. */
  ticket(): Promise<string>;
  readonly platform: Platform;
  /** Takes each frame in its order; the first is `welcome`. */
  frame(frame: Frame): void;
  /** A sign of life that is no frame. */
  alive(): void;
  /** Everything up to this place has come, also what made no frame. */
  reached(cursor: string): void;
  /** Called once at most: no more comes. */
  end(error: SwitchboardError): void;
}

/** What the platform has, or the program has given. */
export interface Platform {
  fetch: typeof fetch;
  WebSocket?: typeof WebSocket;
  EventSource?: typeof EventSource;
}

/** An open connection, or one that is being opened. */
export interface Link {
  /** Sends a command's JSON; only where commands go up the same way. */
  send?(text: string): void;
  /** Ends it. Nothing is called afterwards. */
  close(): void;
}

export interface Transport {
  readonly name: TransportName;
  /** Whether the platform has what it needs. */
  usable(platform: Platform): boolean;
  open(opening: Opening): Link;
}

/**
 * Guards an opening: nothing passes once the link was closed or has ended, so
 * that transports need not look.
 */
export function guarded(opening: Opening): { opening: Opening; close(): boolean } {
  let open = true;
  const close = () => {
    const was = open;
    open = false;
    return was;
  };
  return {
    close,
    opening: {
      ...opening,
      frame: (frame) => open && opening.frame(frame),
      alive: () => open && opening.alive(),
      reached: (cursor) => open && opening.reached(cursor),
      end: (error) => close() && opening.end(error),
    },
  };
}

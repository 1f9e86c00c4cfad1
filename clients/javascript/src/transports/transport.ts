/** What a transport is: a way in which frames travel. Each has its own file in this folder. */

import type { SwitchboardError } from '../error.js';
import type { Frame } from '../frames.js';

export type TransportName = 'websocket' | 'sse' | 'stream' | 'poll' | 'short-poll' | 'iframe' | 'shared';

/** What a connection is opened with, and where its frames go. */
export interface Opening {
  /** The URL of a resource under `/v1`, with device, cursor and channels in its query. */
  url(resource: string, more?: Record<string, unknown>): string;
  /** Where reading starts; empty: at the head. */
  readonly cursor: string;
  /** Headers, for transports that can set them. */
  headers(): Record<string, string>;
  /** A ticket, for transports that cannot set headers: valid for one connection within 30 seconds. */
  ticket(): Promise<string>;
  readonly platform: Platform;
  /** Call it with each frame in order; the first is `welcome`. */
  frame(frame: Frame): void;
  /** Call it for a sign of life that is no frame. */
  alive(): void;
  /** Call it when everything up to this cursor has come, even what made no frame. */
  reached(cursor: string): void;
  /** Call it at most once: nothing more will come. */
  end(error: SwitchboardError): void;
}

/** What the platform offers, or the program has given. */
export interface Platform {
  fetch: typeof fetch;
  WebSocket?: typeof WebSocket;
  EventSource?: typeof EventSource;
}

/** An open connection, or one that is being opened. */
export interface Link {
  /** Sends a command's JSON; only for transports that go both ways. */
  send?(text: string): void;
  /** Closes the connection. Nothing is called afterwards. */
  close(): void;
}

export interface Transport {
  readonly name: TransportName;
  /** Whether the platform has what it needs. */
  usable(platform: Platform): boolean;
  open(opening: Opening): Link;
}

/** Guards an opening: after the connection is closed or has ended nothing passes, so transports need not check. */
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

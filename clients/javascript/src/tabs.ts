/**
 * Tabs of one user share a connection. A browser opens at most six HTTP/1.1 connections to a host, so the one-way
 * transports of many tabs would block each other. So one tab leads (it holds a Web Lock) and has the connection. It
 * tells the others whenever something came, and each fetches it with a short poll from its own cursor. A WebSocket is
 * not shared.
 */

import { asError, SwitchboardError } from './error.js';
import { pollOnce, welcome } from './transports/poll.js';
import { guarded, type Link, type Opening, type Transport } from './transports/transport.js';

/** A message of the leading tab: a frame that no poll brings, or a note that there is something to fetch. */
type Word = { frame: Parameters<Opening['frame']>[0] } | { fetch: true };

/** Milliseconds after which a tab polls by itself; sooner if it has channels, which the leader may not have. */
const LOOK = 20_000;
const LOOK_AT_CHANNELS = 2_000;

/** Whether this platform lets tabs share. */
export const canShare = (): boolean =>
  typeof BroadcastChannel === 'function' && !!globalThis.navigator?.locks && typeof window === 'object';

/** The transport, shared among the tabs that use the same `name`. */
export function shared(transport: Transport, name: string): Transport {
  return {
    ...transport,
    open(given) {
      const { opening, close } = guarded(given);
      const channel = new BroadcastChannel(name);
      const abort = new AbortController();
      let link: Link | undefined;
      let release = () => {};
      const held = new Promise<void>((over) => (release = over));
      const stop = () => {
        abort.abort();
        release();
        link?.close();
        channel.close();
      };
      const told: Opening = {
        ...opening,
        end(error) {
          stop();
          opening.end(error);
        },
      };
      let following = true;
      const lead = () => {
        if (abort.signal.aborted) return undefined;
        following = false;
        link = transport.open(leading(told, channel));
        return held;
      };
      navigator.locks
        .request(name, { ifAvailable: true }, (lock) => {
          if (lock) return lead();
          link = follow(told, channel, abort.signal);
          // Waits for the lock: when the leader ends, this tab leads.
          navigator.locks
            .request(name, { signal: abort.signal }, () => {
              if (following) told.end(new SwitchboardError('disconnected', 'the leading tab has gone'));
            })
            .catch(() => {});
          return undefined;
        })
        .catch((thrown) => told.end(asError(thrown)));
      return {
        close() {
          close();
          stop();
        },
      };
    },
  };
}

/** Passes on to the other tabs what this tab receives. */
function leading(opening: Opening, channel: BroadcastChannel): Opening {
  const say = (word: Word) => channel.postMessage(word);
  return {
    ...opening,
    frame(frame) {
      // Frames of the inbox or a channel are fetched by polls; the others are
      // not kept anywhere.
      if (['typing', 'presence', 'receipt'].includes(frame.type)) say({ frame });
      else if (frame.type !== 'goaway') say({ fetch: true });
      else if (frame.reason === 'kicked' || frame.reason === 'revoked') say({ frame });
      opening.frame(frame);
    },
  };
}

/** Polls whenever the leading tab says that something came. */
function follow(opening: Opening, channel: BroadcastChannel, signal: AbortSignal): Link {
  let cursor = opening.cursor;
  let wanted = 1;
  let wake = () => {};
  channel.onmessage = ({ data }: MessageEvent<Word>) => {
    if ('frame' in data) return opening.frame(data.frame);
    wanted++;
    wake();
  };
  const period = opening.url('poll').includes('channels=') ? LOOK_AT_CHANNELS : LOOK;
  const run = async () => {
    let open = false;
    while (!signal.aborted) {
      const seen = wanted;
      const { events, cursor: next } = await pollOnce(opening, cursor, 0, signal);
      if (!open) opening.frame(welcome(opening, cursor || next));
      open = true;
      cursor = next;
      events.forEach((event) => opening.frame(event));
      opening.reached(cursor);
      if (events.length || seen !== wanted) continue;
      await new Promise<void>((over) => {
        wake = over;
        setTimeout(over, period);
      });
    }
  };
  run().catch((thrown) => opening.end(asError(thrown)));
  return { close() {} };
}

/**
 * Polling, long and short: a request for the events after the cursor. A long poll waits for one; it waits less if a
 * proxy cuts requests.
 */

import { asError, type SwitchboardError } from '../error.js';
import type { Frame } from '../frames.js';
import { request } from '../http.js';
import { guarded, type Opening, type Transport, type TransportName } from './transport.js';

/** Seconds that a long poll waits, and the least behind a proxy that cuts it. */
const LONGEST = 25;
const SHORTEST = 3;
/** Milliseconds between two short polls: when something came, and when nothing did for long. */
const BUSY = 500;
const IDLE = 5_000;
/** Milliseconds beyond its wait that a response may take. */
const GRACE = 10_000;

interface Answer {
  events: Frame[];
  cursor: string;
}

/** One poll, after `cursor`. */
export async function pollOnce(
  opening: Pick<Opening, 'url' | 'headers' | 'platform'>,
  cursor: string,
  wait: number,
  signal?: AbortSignal,
): Promise<Answer> {
  const init: RequestInit = { headers: opening.headers() };
  if (signal) init.signal = signal;
  const url = opening.url('poll', { cursor, wait });
  const response = await request(opening.platform.fetch, url, init, wait * 1000 + GRACE);
  return response.json();
}

function polling(name: TransportName, long: boolean): Transport {
  return {
    name,
    usable: () => true,

    open(given) {
      const { opening, close } = guarded(given);
      const abort = new AbortController();
      const run = async () => {
        // The first poll does not wait: it proves that polls work, and returns
        // where reading starts.
        let { events, cursor } = await pollOnce(opening, opening.cursor, 0, abort.signal);
        opening.frame(welcome(opening, cursor));
        let longest = LONGEST;
        let pause = BUSY;
        for (;;) {
          for (const event of events) opening.frame(event);
          opening.reached(cursor);
          if (!long) {
            pause = events.length ? BUSY : Math.min(pause * 1.5, IDLE);
            await new Promise((over) => setTimeout(over, pause));
          }
          const begun = Date.now();
          try {
            ({ events, cursor } = await pollOnce(opening, cursor, long ? longest : 0, abort.signal));
          } catch (thrown) {
            const error = thrown as SwitchboardError;
            const cut = error.code === 'disconnected' || error.code === 'unavailable';
            const waited = Date.now() - begun;
            if (abort.signal.aborted || !cut || waited < 1000 || longest <= SHORTEST) throw error;
            // It had waited and was cut, perhaps by a proxy: wait less.
            longest = Math.max(SHORTEST, Math.min(longest / 2, Math.floor(waited / 1000) - 1));
            events = [];
          }
        }
      };
      run().catch((thrown) => opening.end(asError(thrown)));
      return {
        close() {
          close();
          abort.abort();
        },
      };
    },
  };
}

/** Polls have no `welcome` frame: makes one from what the client knows. */
export function welcome(opening: Pick<Opening, 'cursor'>, cursor: string): Frame<'welcome'> {
  return {
    type: 'welcome',
    user: '',
    device: '',
    session: '',
    node: '',
    cursor,
    resumed: !!opening.cursor,
    heartbeat_ms: 0,
    max_body_bytes: 0,
  };
}

export const poll = polling('poll', true);
export const shortPoll = polling('short-poll', false);

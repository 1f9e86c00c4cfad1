/** Commands as HTTP requests: PROTOCOL.md §5, last column. */

import { errorOf, SwitchboardError, asError } from './error.js';
import type { Command } from './frames.js';

const IN = 'conversations/{conversation}';
const MESSAGE = `${IN}/messages/{seq}`;

/** Method and path of each command. */
const ROUTES: Record<string, [string, string]> = {
  send: ['POST', 'messages'],
  ack: ['POST', 'ack'],
  read: ['POST', `${IN}/read`],
  typing: ['POST', `${IN}/typing`],
  history: ['GET', `${IN}/messages`],
  edit: ['PUT', MESSAGE],
  recall: ['DELETE', MESSAGE],
  react: ['PUT', `${MESSAGE}/reactions/{emoji}`],
  unreact: ['DELETE', `${MESSAGE}/reactions/{emoji}`],
  conversations: ['GET', 'conversations'],
  create_group: ['POST', 'conversations'],
  rename: ['PUT', IN],
  members: ['GET', `${IN}/members`],
  add_members: ['POST', `${IN}/members`],
  set_role: ['PUT', `${IN}/members/{user}`],
  remove_member: ['DELETE', `${IN}/members/{user}`],
  presence: ['GET', 'presence'],
  publish: ['POST', 'channels/{channel}/messages'],
};

/** A request for a command: its method, its path with the query, its body. */
export function requestOf(command: Command): { method: string; path: string; body?: string } {
  const { type, ...fields } = command;
  let name = type;
  if (type === 'react') {
    name = fields.on ? type : 'unreact';
    delete fields.on;
  }
  const route = ROUTES[name];
  if (!route) {
    throw new SwitchboardError('bad_request', `\`${type}\` needs a WebSocket, and there is none now`);
  }
  const [method, pattern] = route;
  const path = pattern.replace(/\{(\w+)\}/g, (_, field: string) => {
    const value = fields[field];
    delete fields[field];
    return encodeURIComponent(String(value));
  });
  if (method === 'POST' || method === 'PUT') return { method, path, body: JSON.stringify(fields) };
  const query = queryOf(fields);
  return { method, path: query ? `${path}?${query}` : path };
}

/** Fields as a query; undefined ones are left out, and lists are joined. */
export function queryOf(fields: Record<string, unknown>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && value !== '') query.set(name, String(value));
  }
  return query.toString();
}

/**
 * Fetches. Throws the protocol's error unless the response is a success. Gives up when the response's head does not
 * come within `timeout` milliseconds.
 */
export async function request(
  fetcher: typeof fetch,
  url: string,
  init: RequestInit,
  timeout: number,
): Promise<Response> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  init.signal?.addEventListener('abort', stop);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    stop();
  }, timeout);
  try {
    const response = await fetcher(url, {
      cache: 'no-store',
      credentials: 'omit',
      ...init,
      signal: abort.signal,
    });
    if (!response.ok && response.status !== 304) throw await errorOf(response);
    return response;
  } catch (thrown) {
    if (late) throw new SwitchboardError('timeout', `no answer within ${timeout} ms`);
    throw asError(thrown);
  } finally {
    clearTimeout(timer);
  }
}

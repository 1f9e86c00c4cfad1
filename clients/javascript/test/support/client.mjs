// Clients of a test's server, ended with the test.
import WS from 'ws';
import { Switchboard } from '../../dist/index.js';
import { Server, tokenOf } from './server.mjs';

/** A server that stops with the test. */
export async function serve(t) {
  const server = await new Server().start();
  t.after(() => server.stop());
  return server;
}

/** A client that disconnects with the test; `bodies` are those of the messages it was handed. */
export function clientOf(t, server, user = 'bob', options = {}) {
  const client = new Switchboard(server.url, { token: tokenOf(user), WebSocket: WS, ...options });
  t.after(() => client.disconnect());
  const bodies = [];
  client.on('message', ({ body }) => bodies.push(body));
  return Object.assign(client, { bodies });
}

/** Waits until `condition` holds; fails with `what` after `within` milliseconds. */
export async function until(condition, what, within = 20_000) {
  const deadline = Date.now() + within;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${within} ms: ${what}`);
    await new Promise((over) => setTimeout(over, 10));
  }
}

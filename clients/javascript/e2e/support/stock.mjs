// What the tests of clients that others wrote share: a page that runs the client, and somebody who writes to
// it and reads what it has written.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { after, before } from 'node:test';
import { startProxy } from '../../test/support/proxy.mjs';
import { launch } from './browser.mjs';
import { startCluster } from './cluster.mjs';

const MESSAGES = 100;
export const PAGE = '<!doctype html><meta charset="utf-8"><title>page</title><body></body>';

/**
 * For the tests of a file: Chromium, a cluster behind a load balancer that knows no affinity, and a server of
 * another origin with an empty page and, as `/client.js`, the `client` (a file of a package). `flags` are the
 * gateways', given that server's URL.
 */
export function stage(client, flags = () => []) {
  const script = readFileSync(createRequire(import.meta.url).resolve(client), 'utf8');
  const pages = http.createServer((request, response) => {
    const asked = request.url === '/client.js';
    response.setHeader('content-type', asked ? 'text/javascript' : 'text/html');
    response.end(asked ? script : PAGE);
  });
  const stage = { script };
  before(async () => {
    await new Promise((over) => pages.listen(0, '127.0.0.1', over));
    stage.pages = `http://127.0.0.1:${pages.address().port}`;
    [stage.cluster, stage.browser] = await Promise.all([startCluster(flags(stage.pages)), launch()]);
    stage.balancer = await startProxy(stage.cluster.gateways);
  });
  after(async () => {
    await stage.browser?.close();
    await stage.balancer?.stop();
    await stage.cluster?.stop();
    pages.close();
  });
  return stage;
}

/** Waits until this holds in the page. */
export const until = (page, what, most) => page.waitForFunction(what, most, { timeout: 60_000 });

/**
 * The user in the page and a friend write a hundred messages to each other; in the middle the gateway that has
 * the page's session is killed and started again. Each message comes once and in order, in both directions.
 * The page says what it sees in `globalThis.state` (`heard`, `answered`, `nodes`) and writes by
 * `globalThis.say`.
 */
export async function talk(page, cluster, user, friend) {
  await until(page, () => globalThis.state.nodes.length > 0);
  const node = await page.evaluate(() => Number(globalThis.state.nodes[0].slice('gw-'.length)) - 1);
  const other = cluster.client(1 - node);
  const expected = [...Array(MESSAGES).keys()];
  for (const n of expected) {
    // One after the other: what is sent again after a break must not be overtaken.
    await page.evaluate((n) => globalThis.say(n), n);
    await other.write(friend, user, n);
    if (n === MESSAGES / 2) {
      await cluster.kill(`gw-${node + 1}`);
      await cluster.startGateway(node);
    }
    await until(page, (most) => globalThis.state.answered >= most, n + 1);
  }
  await until(page, (most) => globalThis.state.heard.length >= most, MESSAGES);
  assert.deepEqual(await page.evaluate(() => globalThis.state.heard), expected);
  assert.deepEqual(await other.written(friend, user), expected);
}

// socket.io-client as it comes from npm, in Chromium: over polls, over a WebSocket, and from one to the other;
// a hundred messages both ways through a load balancer that knows no affinity, and the gateway killed in
// between.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { startProxy } from '../test/support/proxy.mjs';
import { launch } from './support/browser.mjs';
import { startCluster, tokenOf } from './support/cluster.mjs';

const CLIENT = readFileSync(
  createRequire(import.meta.url).resolve('socket.io-client/dist/socket.io.js'),
  'utf8',
);
const MESSAGES = 100;

let pages;
let cluster;
let balancer;
let browser;
before(async () => {
  pages = http.createServer((_, response) => {
    response.setHeader('content-type', 'text/html');
    response.end('<!doctype html><meta charset="utf-8"><title>page</title>');
  });
  await new Promise((over) => pages.listen(0, '127.0.0.1', over));
  [cluster, browser] = await Promise.all([startCluster(), launch()]);
  balancer = await startProxy(cluster.gateways);
});
after(async () => {
  await browser?.close();
  await balancer?.stop();
  await cluster?.stop();
  pages?.close();
});

/** What the page does: keeps what it hears, and sends again what was not answered. */
function run({ url, token, transports, friend }) {
  const state = { heard: [], answered: 0, over: [], recovered: [], nodes: [] };
  globalThis.state = state;
  const socket = globalThis.io(url, {
    transports,
    auth: { token },
    reconnectionDelay: 100,
    retries: 1000,
    ackTimeout: 5000,
  });
  socket.io.on('open', () => {
    state.over.push(socket.io.engine.transport.name);
    socket.io.engine.on('upgrade', (transport) => state.over.push(transport.name));
  });
  socket.on('connect', () => state.recovered.push(socket.recovered));
  socket.on('welcome', (frame) => state.nodes.push(frame.node));
  socket.on('message', (frame) => frame.from === friend && state.heard.push(frame.body));
  globalThis.say = (n) => {
    const fields = { to: friend, body: n, client_msg_id: `m-${n}` };
    socket.emit('send', fields, (error, answer) => answer?.type === 'sent' && state.answered++);
  };
}

for (const [name, transports, over] of [
  ['polling', ['polling'], ['polling']],
  ['websocket', ['websocket'], ['websocket']],
  ['upgrade', ['polling', 'websocket'], ['polling', 'websocket']],
]) {
  test(`${name}: nothing is missed and nothing comes twice, though the gateway is killed`, async (t) => {
    const [user, friend] = [`page-${name}`, `friend-${name}`];
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${pages.address().port}/`);
    await page.addScriptTag({ content: CLIENT });
    await page.evaluate(run, { url: balancer.url, token: tokenOf(user), transports, friend });
    const until = (what, most) => page.waitForFunction(what, most, { timeout: 60_000 });
    await until(
      (most) => globalThis.state.nodes.length > 0 && globalThis.state.over.length >= most,
      over.length,
    );

    const node = await page.evaluate(() => Number(globalThis.state.nodes[0].slice('gw-'.length)) - 1);
    const other = cluster.client(1 - node);
    const expected = [...Array(MESSAGES).keys()];
    for (const n of expected) {
      await page.evaluate((n) => globalThis.say(n), n);
      await other.write(friend, user, n);
      if (n === MESSAGES / 2) {
        await cluster.kill(`gw-${node + 1}`);
        await cluster.startGateway(node);
      }
      await until((most) => globalThis.state.answered >= most, n + 1);
    }
    await until((most) => globalThis.state.heard.length >= most, MESSAGES);
    const state = await page.evaluate(() => globalThis.state);
    assert.deepEqual(state.heard, expected);
    assert.deepEqual(await other.written(friend, user), expected);
    assert.deepEqual(state.over.slice(0, over.length), over);
    // It has come back by itself.
    assert.ok(state.nodes.length > 1, JSON.stringify(state));
    assert.equal(state.recovered[0], false);
    assert.ok(state.recovered.slice(1).every(Boolean), JSON.stringify(state));
  });
}

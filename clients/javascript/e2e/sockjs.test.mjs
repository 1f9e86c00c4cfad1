// SockJS's own client as it comes from npm, with each of its transports in turn: a hundred messages both
// ways through a load balancer that knows no affinity, and the gateway killed in between.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { startProxy } from '../test/support/proxy.mjs';
import { launch } from './support/browser.mjs';
import { startCluster, tokenOf } from './support/cluster.mjs';

const CLIENT = readFileSync(createRequire(import.meta.url).resolve('sockjs-client/dist/sockjs.js'), 'utf8');
const PAGE = '<!doctype html><meta charset="utf-8"><title>page</title><body></body>';
const MESSAGES = 100;

let pages;
let cluster;
let balancer;
let browser;
before(async () => {
  pages = http.createServer((request, response) => {
    const script = request.url === '/sockjs.js';
    response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
    response.end(script ? CLIENT : PAGE);
  });
  await new Promise((over) => pages.listen(0, '127.0.0.1', over));
  pages.url = `http://127.0.0.1:${pages.address().port}`;
  const more = ['--sockjs-client-url', `${pages.url}/sockjs.js`];
  [cluster, browser] = await Promise.all([startCluster(more), launch()]);
  balancer = await startProxy(cluster.gateways);
});
after(async () => {
  await browser?.close();
  await balancer?.stop();
  await cluster?.stop();
  pages?.close();
});

/** What the page does: keeps what it hears, sends again what was not answered, and comes back. */
function run({ url, token, transport, friend }) {
  const state = { heard: [], answered: 0, transports: new Set(), nodes: [], closes: [], waiting: new Map() };
  globalThis.state = state;
  let cursor;
  let sockjs;
  const send = (n) => {
    const frame = { type: 'send', ref: n, to: friend, body: n, client_msg_id: `m-${n}` };
    sockjs.send(JSON.stringify(frame));
  };
  const connect = () => {
    const at = cursor ? `&cursor=${encodeURIComponent(cursor)}` : '';
    const service = `${url}/sockjs?device=page&token=${token}${at}`;
    sockjs = new globalThis.SockJS(service, null, { transports: [transport] });
    sockjs.onmessage = (event) => {
      const frame = JSON.parse(event.data);
      if (frame.cursor) cursor = frame.cursor;
      if (frame.type === 'welcome') {
        state.transports.add(sockjs.transport);
        state.nodes.push(frame.node);
        for (const n of state.waiting.keys()) send(n);
      }
      if (frame.type === 'message' && frame.from === friend) state.heard.push(frame.body);
      if (frame.type === 'sent' && state.waiting.delete(frame.ref)) state.answered++;
    };
    sockjs.onclose = (event) => {
      state.closes.push(`${event.code} ${event.reason}`);
      setTimeout(connect, 200);
    };
  };
  globalThis.say = (n) => {
    state.waiting.set(n, true);
    if (sockjs.readyState === 1) send(n);
  };
  connect();
}

const TRANSPORTS = [
  'websocket',
  'xhr-streaming',
  'eventsource',
  'iframe-eventsource',
  'htmlfile',
  'iframe-htmlfile',
  'xhr-polling',
  'iframe-xhr-polling',
  'jsonp-polling',
];
for (const transport of TRANSPORTS) {
  test(`${transport}: nothing is missed and nothing comes twice, though the gateway is killed`, async (t) => {
    const [user, friend] = [`page-${transport}`, `friend-${transport}`];
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    // `htmlfile` is for pages of the server's own origin.
    const own = transport === 'htmlfile';
    if (own)
      await page.route('**/page.html', (route) => route.fulfill({ contentType: 'text/html', body: PAGE }));
    await page.goto(`${own ? balancer.url : pages.url}/page.html`);
    // As text: a browser lets no page that was made here load from this machine.
    await page.addScriptTag({ content: CLIENT });
    await page.evaluate(run, { url: balancer.url, token: tokenOf(user), transport, friend });
    const until = (what, most) => page.waitForFunction(what, most, { timeout: 60_000 });
    await until(() => globalThis.state.nodes.length > 0);
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
      await until((most) => globalThis.state.answered >= most, n + 1);
    }
    await until((most) => globalThis.state.heard.length >= most, MESSAGES);
    const { heard, transports, closes } = await page.evaluate(() => ({
      ...globalThis.state,
      transports: [...globalThis.state.transports],
    }));
    assert.deepEqual(heard, expected);
    assert.deepEqual(await other.written(friend, user), expected);
    assert.deepEqual(transports, [transport]);
    assert.ok(closes.length > 0, 'the page has come back');
  });
}

// SockJS's own client as it comes from npm, with each of its transports in turn: a hundred messages both
// ways, and the gateway killed in between.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { launch } from './support/browser.mjs';
import { startCluster, tokenOf } from './support/cluster.mjs';

const CLIENT = readFileSync(createRequire(import.meta.url).resolve('sockjs-client/dist/sockjs.js'), 'utf8');
const PAGE = '<!doctype html><meta charset="utf-8"><title>page</title><body></body>';
const MESSAGES = 100;

let pages;
let cluster;
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
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
  pages?.close();
});

const gateway = (n) => `http://127.0.0.1:${cluster.gateways[n]}`;

/** What the page does: keeps what it hears, sends again what was not answered, and comes back elsewhere. */
function run({ urls, token, transport, friend }) {
  const state = { heard: [], answered: 0, transports: new Set(), closes: [], waiting: new Map(), turn: 0 };
  globalThis.state = state;
  let cursor;
  let sockjs;
  const send = (n) => {
    const frame = { type: 'send', ref: n, to: friend, body: n, client_msg_id: `m-${n}` };
    sockjs.send(JSON.stringify(frame));
  };
  const connect = () => {
    const at = cursor ? `&cursor=${encodeURIComponent(cursor)}` : '';
    const url = `${urls[state.turn++ % urls.length]}/sockjs?device=page&token=${token}${at}`;
    sockjs = new globalThis.SockJS(url, null, { transports: [transport] });
    sockjs.onmessage = (event) => {
      const frame = JSON.parse(event.data);
      if (frame.cursor) cursor = frame.cursor;
      if (frame.type === 'welcome') {
        state.transports.add(sockjs.transport);
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

/** What has been written to somebody by somebody, from the log. */
async function written(reader, writer) {
  const url = `${gateway(1)}/v1/conversations/${[reader, writer].sort().join('~')}/messages?limit=200`;
  const answer = await fetch(url, { headers: { authorization: `Bearer ${tokenOf(reader)}` } });
  const { messages } = await answer.json();
  return messages.filter((message) => message.from === writer).map((message) => message.body);
}

async function write(from, to, body) {
  const headers = { authorization: `Bearer ${tokenOf(from)}`, 'content-type': 'application/json' };
  const answer = await fetch(`${gateway(1)}/v1/messages`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ to, body }),
  });
  assert.equal(answer.status, 200);
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
    await page.goto(`${own ? gateway(0) : pages.url}/page.html`);
    // As text: a browser lets no page that was made here load from this machine.
    await page.addScriptTag({ content: CLIENT });
    // A page of the first gateway's origin comes back there, once it is back.
    const urls = own ? [gateway(0)] : [gateway(0), gateway(1)];
    await page.evaluate(run, { urls, token: tokenOf(user), transport, friend });
    const until = (what, most) => page.waitForFunction(what, most, { timeout: 60_000 });
    await until(() => globalThis.state.transports.size > 0);

    const expected = [...Array(MESSAGES).keys()];
    for (const n of expected) {
      // One after the other: what is sent again after a break must not be overtaken.
      await page.evaluate((n) => globalThis.say(n), n);
      await write(friend, user, n);
      if (n === MESSAGES / 2) {
        await cluster.kill('gw-1');
        await cluster.startGateway(0);
      }
      await until((most) => globalThis.state.answered >= most, n + 1);
    }
    await until((most) => globalThis.state.heard.length >= most, MESSAGES);
    const { heard, transports, closes } = await page.evaluate(() => ({
      ...globalThis.state,
      transports: [...globalThis.state.transports],
    }));
    assert.deepEqual(heard, expected);
    assert.deepEqual(await written(friend, user), expected);
    assert.deepEqual(transports, [transport]);
    assert.ok(closes.length > 0, 'the page has come back');
  });
}

// SockJS's own client as it comes from npm, with each of its transports in turn: a hundred messages both
// ways through a load balancer that knows no affinity, and the gateway killed in between.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tokenOf } from './support/cluster.mjs';
import { PAGE, stage, talk } from './support/stock.mjs';

const at = stage('sockjs-client/dist/sockjs.js', (pages) => ['--sockjs-client-url', `${pages}/client.js`]);

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
        sendAll();
      }
      if (frame.type === 'message' && frame.from === friend) state.heard.push(frame.body);
      if (frame.type === 'sent' && state.waiting.delete(frame.ref)) state.answered++;
    };
    sockjs.onclose = (event) => {
      state.closes.push(`${event.code} ${event.reason}`);
      setTimeout(connect, 200);
    };
  };
  const sendAll = () => {
    if (sockjs.readyState === 1) for (const n of state.waiting.keys()) send(n);
  };
  globalThis.say = (n) => {
    state.waiting.set(n, true);
    if (sockjs.readyState === 1) send(n);
  };
  // As a program has it that waits for an answer. Over `htmlfile` nothing else notices a stream that breaks:
  // Chromium fires no load event for it.
  setInterval(sendAll, 2000);
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
    const context = await at.browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    // `htmlfile` is for pages of the server's own origin.
    const own = transport === 'htmlfile';
    if (own)
      await page.route('**/page.html', (route) => route.fulfill({ contentType: 'text/html', body: PAGE }));
    await page.goto(`${own ? at.balancer.url : at.pages}/page.html`);
    // As text: a browser lets no page that was made here load from this machine.
    await page.addScriptTag({ content: at.script });
    await page.evaluate(run, { url: at.balancer.url, token: tokenOf(user), transport, friend });
    await talk(page, at.cluster, user, friend);
    const { transports, closes } = await page.evaluate(() => ({
      ...globalThis.state,
      transports: [...globalThis.state.transports],
    }));
    assert.deepEqual(transports, [transport]);
    assert.ok(closes.length > 0, 'the page has come back');
  });
}

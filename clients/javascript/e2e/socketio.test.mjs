// socket.io-client as it comes from npm, in Chromium: over polls, over a WebSocket, and from one to the other;
// a hundred messages both ways through a load balancer that knows no affinity, and the gateway killed in
// between.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tokenOf } from './support/cluster.mjs';
import { stage, talk, until } from './support/stock.mjs';

const at = stage('socket.io-client/dist/socket.io.js');

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
    const context = await at.browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    await page.goto(at.pages);
    await page.addScriptTag({ content: at.script });
    await page.evaluate(run, { url: at.balancer.url, token: tokenOf(user), transports, friend });
    await until(page, (most) => globalThis.state.over.length >= most, over.length);
    await talk(page, at.cluster, user, friend);
    const state = await page.evaluate(() => globalThis.state);
    assert.deepEqual(state.over.slice(0, over.length), over);
    // It has come back by itself.
    assert.ok(state.nodes.length > 1, JSON.stringify(state));
    assert.equal(state.recovered[0], false);
    assert.ok(state.recovered.slice(1).every(Boolean), JSON.stringify(state));
  });
}

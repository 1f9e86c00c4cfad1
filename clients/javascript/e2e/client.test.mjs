// The client alone, in a browser: each transport, and what a page cannot show by itself.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { launch } from './support/browser.mjs';
import { startCluster, tokenOf } from './support/cluster.mjs';

let cluster;
let browser;
let count = 0;
before(async () => {
  [cluster, browser] = await Promise.all([startCluster(), launch()]);
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
});

/** A page whose `client` uses a transport; its tokens live for `life` seconds. */
async function clientOn(t, transport, life = 3600) {
  const user = `reader${++count}`;
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.exposeFunction('newToken', () => tokenOf(user, life));
  await page.goto(cluster.proxies[0].url);
  await page.addScriptTag({ url: '/switchboard.min.js' });
  await page.evaluate(async (name) => {
    globalThis.bodies = [];
    globalThis.client = new globalThis.Switchboard(location.origin, {
      getToken: () => globalThis.newToken(),
      transports: [name],
    });
    globalThis.client.on('message', ({ body }) => globalThis.bodies.push(body));
    await globalThis.client.connect();
  }, transport);
  return { page, user };
}

for (const transport of ['websocket', 'sse', 'stream', 'poll', 'short-poll']) {
  test(`on ${transport} tokens that live four seconds are renewed, and nothing is missed`, async (t) => {
    const { page, user } = await clientOn(t, transport, 4);
    const said = [];
    // More than two lives of a token, and a message now and then.
    for (let n = 0; n < 20; n++) {
      said.push(n);
      await cluster.client(1).write('writer', user, n);
      await page.waitForTimeout(500);
    }
    await page.waitForFunction((most) => globalThis.bodies.length >= most, said.length);
    assert.deepEqual(await page.evaluate(() => globalThis.bodies), said);
    assert.equal(await page.evaluate(() => globalThis.client.state), 'connected');
  });
}

test('`kicked` ends it, and the client stays away', async (t) => {
  const { page, user } = await clientOn(t, 'websocket');
  await cluster.client(0).post(tokenOf('backend', 3600, 'service'), '/v1/kick', { user });
  await page.waitForFunction(() => globalThis.client.state === 'disconnected');
  assert.equal(await page.evaluate(() => globalThis.client.error.code), 'kicked');
});

test('a channel is read across transports', async (t) => {
  const { page } = await clientOn(t, 'websocket');
  const token = tokenOf('backend', 3600, 'publish');
  const publish = (body) => cluster.client(1).post(token, '/v1/channels/c_news/messages', { body });
  await page.evaluate(async () => {
    globalThis.news = [];
    globalThis.client.on('publication', ({ body }) => globalThis.news.push(body));
    await globalThis.client.subscribe('c_news');
  });
  const said = [];
  for (const transport of ['websocket', 'stream', 'sse', 'poll', 'websocket']) {
    await page.evaluate((name) => globalThis.client.use([name]), transport);
    said.push(`before ${transport}`);
    await publish(said.at(-1));
    await page.waitForFunction((name) => globalThis.client.transport === name, transport);
    said.push(`on ${transport}`);
    await publish(said.at(-1));
    await page.waitForFunction((most) => globalThis.news.length >= most, said.length);
  }
  assert.deepEqual(await page.evaluate(() => globalThis.news), said);
});

test('the iframe transport, imported separately, brings frames', async (t) => {
  const { page, user } = await clientOn(t, 'websocket');
  await page.evaluate(() => globalThis.client.disconnect());
  // The page's policy lets nothing be framed: a page of one's own has none.
  const site = http.createServer((request, response) => {
    if (!request.url.endsWith('.js'))
      return void response.setHeader('content-type', 'text/html').end('<body>');
    const file = readFileSync(new URL(`../dist${request.url}`, import.meta.url));
    response.setHeader('content-type', 'text/javascript').end(file);
  });
  await new Promise((over) => site.listen(0, '127.0.0.1', over));
  t.after(() => site.close());
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  await page.evaluate(async (server) => {
    const { Switchboard } = await import('/index.js');
    const { iframe } = await import('/iframe.js');
    globalThis.bodies = [];
    globalThis.client = new Switchboard(server, {
      getToken: () => globalThis.newToken(),
      transports: [iframe],
    });
    globalThis.client.on('message', ({ body }) => globalThis.bodies.push(body));
    await globalThis.client.connect();
  }, cluster.proxies[0].url);
  assert.equal(await page.evaluate(() => globalThis.client.transport), 'iframe');
  for (const body of [1, 2, 3]) await cluster.client(1).write('writer', user, body);
  await page.waitForFunction(() => globalThis.bodies.length === 3);
  // An iframe does not say that its connection was cut; the client finds out when it looks.
  cluster.proxies[0].cut();
  await cluster.client(1).write('writer', user, 4);
  await page.evaluate(() => globalThis.dispatchEvent(new Event('online')));
  await page.waitForFunction(() => globalThis.bodies.length === 4);
  assert.deepEqual(await page.evaluate(() => globalThis.bodies), [1, 2, 3, 4]);
});

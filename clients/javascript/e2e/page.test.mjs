import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, person, personIn } from './support/browser.mjs';
import { startCluster } from './support/cluster.mjs';

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

/** Two people on different nodes, in their conversation. */
async function pair(t, options) {
  const n = ++count;
  const [alice, bob] = await Promise.all([
    person(browser, cluster.proxies[0].url, `alice${n}`, options),
    person(browser, cluster.proxies[1].url, `bob${n}`, options),
  ]);
  t.after(async () => {
    await Promise.all([alice.close(), bob.close()]);
    assert.deepEqual([...alice.errors, ...bob.errors], []);
  });
  await alice.writeTo(bob.user);
  await bob.writeTo(alice.user);
  return [alice, bob];
}

for (const transport of ['websocket', 'sse', 'stream', 'poll', 'short-poll']) {
  test(`two people on different nodes chat over ${transport}`, async (t) => {
    const [alice, bob] = await pair(t);
    await Promise.all([alice.use(transport), bob.use(transport)]);
    const said = [];
    for (let n = 0; n < 4; n++) {
      const [one, other] = n % 2 ? [bob, alice] : [alice, bob];
      said.push(`${n} <b>from ${one.user}</b>`);
      await one.say(said.at(-1));
      await other.sees(said);
    }
    await alice.sees(said);
    await alice.marked(said[0], 'read');
  });
}

test('edits, recalls and reactions are seen by the other', async (t) => {
  const [alice, bob] = await pair(t);
  await alice.say('first');
  await alice.say('second');
  await bob.sees(['first', 'second']);
  const tools = (who, text) =>
    who.page
      .locator('.message', { hasText: text })
      .getByRole('button', { name: 'What to do with this message' });
  await tools(bob, 'first').click();
  await bob.page.getByRole('button', { name: 'React with 👍' }).click();
  await alice.page.getByRole('button', { name: `👍 1 by ${bob.user}` }).waitFor();
  await tools(alice, 'first').click();
  await alice.page.getByRole('button', { name: 'Edit' }).click();
  await alice.say('first, better');
  await bob.sees(['first, better', 'second']);
  await tools(alice, 'second').click();
  await alice.page.getByRole('button', { name: 'Recall' }).click();
  await bob.sees(['first, better', 'recalled']);
});

test('typing and presence are shown', async (t) => {
  const [alice, bob] = await pair(t);
  await bob.page.getByText('online', { exact: true }).waitFor();
  await alice.page.getByLabel('Message', { exact: true }).pressSequentially('hm');
  await bob.page.getByText(`${alice.user} is typing…`).waitFor();
});

test('a group: made, talked in, joined, left', async (t) => {
  const [alice, bob] = await pair(t);
  await alice.page.getByRole('button', { name: 'Group' }).click();
  const dialog = alice.page.locator('#group-dialog');
  await dialog.getByLabel('Name').fill('Team');
  await dialog.getByLabel('Members, separated by spaces').fill(bob.user);
  await dialog.getByRole('button', { name: 'Create' }).click();
  await alice.page.getByRole('heading', { name: 'Team', level: 1 }).waitFor();
  await alice.say('hi all');
  await bob.page.getByRole('button', { name: /Team/ }).click();
  await bob.sees(['hi all']);
  await bob.page.getByRole('button', { name: 'Members' }).click();
  await bob.page.getByRole('button', { name: 'Leave the group' }).click();
  await bob.page.getByText('You are no member any more', { exact: true }).waitFor();
});

test('a reload and the back button go on where it was', async (t) => {
  const [alice, bob] = await pair(t);
  await alice.say('before');
  await bob.sees(['before']);
  const device = await bob.page.evaluate(() => Object.values(sessionStorage));
  await bob.page.reload();
  await bob.sees(['before']);
  assert.deepEqual(await bob.page.evaluate(() => Object.values(sessionStorage)), device);
  await alice.say('after');
  await bob.sees(['before', 'after']);
  await bob.page.goto('about:blank');
  await alice.say('away');
  await bob.page.goBack();
  await bob.sees(['before', 'after', 'away']);
});

test('what a gateway that is killed had not answered is on the screen once', async (t) => {
  const [alice, bob] = await pair(t);
  await alice.say('one');
  await bob.sees(['one']);
  // Alice's way leads to the other node from now on, as behind a load balancer.
  await cluster.kill('gw-1');
  const [first, second] = cluster.proxies;
  first.targets.splice(0, 1, cluster.gateways[1]);
  t.after(async () => {
    await cluster.startGateway(0);
    first.targets.splice(0, 1, cluster.gateways[0]);
  });
  for (const text of ['two', 'three', 'four']) await alice.say(text);
  await bob.say('five');
  assert.notEqual(first.url, second.url);
  await alice.page.getByText(/^connected/).waitFor();
  const deadline = Date.now() + 30_000;
  let seen = [];
  while (Date.now() < deadline && seen.length < 5) seen = await bob.messages();
  assert.deepEqual([...seen].sort(), ['five', 'four', 'one', 'three', 'two']);
  assert.deepEqual(
    seen.filter((text) => text !== 'five'),
    ['one', 'two', 'three', 'four'],
  );
  await alice.sees(seen);
});

test('without a network both go on writing, and everything arrives in order', async (t) => {
  const [alice, bob] = await pair(t);
  await alice.say('start');
  await bob.sees(['start']);
  for (const proxy of cluster.proxies) {
    proxy.state.down = true;
    proxy.cut();
  }
  await alice.page.getByText(/^connecting/).waitFor();
  const own = { alice: ['a1', 'a2', 'a3'], bob: ['b1', 'b2', 'b3'] };
  for (const text of own.alice) await alice.say(text);
  for (const text of own.bob) await bob.say(text);
  await alice.sees(['start', ...own.alice]);
  for (const proxy of cluster.proxies) proxy.state.down = false;
  const deadline = Date.now() + 60_000;
  let seen = [];
  while (Date.now() < deadline && seen.length < 7) seen = await bob.messages();
  assert.deepEqual([...seen].sort(), ['a1', 'a2', 'a3', 'b1', 'b2', 'b3', 'start']);
  for (const texts of Object.values(own)) {
    assert.deepEqual(
      seen.filter((text) => texts.includes(text)),
      texts,
    );
  }
  await alice.sees(seen);
});

for (const [name, behaviour] of Object.entries({
  'refuses upgrades': { upgrades: 'refuse' },
  'accepts upgrades and passes nothing': { upgrades: 'silent' },
  'drops WebSockets': { upgrades: 'drop' },
  'refuses upgrades and buffers answers': { upgrades: 'refuse', buffer: true },
  'cuts every connection after five seconds': { cutAfter: 5_000 },
})) {
  test(`behind a proxy that ${name} every message arrives once`, async (t) => {
    const [alice, bob] = await pair(t);
    const proxy = cluster.proxies[1];
    const normal = { ...proxy.state };
    Object.assign(proxy.state, behaviour);
    t.after(() => Object.assign(proxy.state, normal));
    proxy.cut();
    const said = [];
    for (let n = 0; n < 8; n++) {
      said.push(`m${n}`);
      await alice.say(said.at(-1));
      // The first has ten seconds: that is what falling back may take.
      await bob.sees(said, n === 0 ? 10_000 : 30_000);
    }
    await bob.say('back');
    await alice.sees([...said, 'back']);
  });
}

test('a page that was frozen comes back whole', async (t) => {
  const [alice, bob] = await pair(t);
  const session = await bob.context.newCDPSession(bob.page);
  await session.send('Page.setWebLifecycleState', { state: 'frozen' });
  for (const text of ['1', '2', '3']) await alice.say(text);
  await alice.sees(['1', '2', '3']);
  await session.send('Page.setWebLifecycleState', { state: 'active' });
  await bob.sees(['1', '2', '3']);
});

for (const transport of ['sse', 'stream', 'poll']) {
  test(`eight tabs of one user on ${transport} all receive and send`, async (t) => {
    const [alice, bob] = await pair(t);
    await bob.use(transport);
    const tabs = [bob];
    for (let n = 1; n < 8; n++) {
      const tab = await personIn(bob.context, cluster.proxies[1].url, bob.user);
      tabs.push(tab);
      await tab.use(transport);
      await tab.writeTo(alice.user);
    }
    const said = ['to all'];
    await alice.say('to all');
    for (const tab of tabs) await tab.sees(said);
    for (const [n, tab] of tabs.entries()) {
      said.push(`from tab ${n}`);
      await tab.say(said.at(-1));
      await alice.sees(said);
    }
    for (const tab of tabs) await tab.sees(said);
  });
}

// What a person sees and can reach: axe's rules, keyboard, narrow screens, ten thousand messages.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { launch, person } from './support/browser.mjs';
import { startCluster, tokenOf } from './support/cluster.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core'), 'utf8');
/** Where pictures go, if they are wanted: `npm run pictures`. */
const PICTURES = process.env.PICTURES;

let cluster;
let browser;
before(async () => {
  [cluster, browser] = await Promise.all([startCluster(), launch()]);
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
});

async function faults(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

const LOOKS = {
  'desktop-light': { viewport: { width: 1100, height: 700 }, colorScheme: 'light' },
  'desktop-dark': { viewport: { width: 1100, height: 700 }, colorScheme: 'dark' },
  'phone-light': { viewport: { width: 360, height: 740 }, colorScheme: 'light' },
  'phone-dark': { viewport: { width: 360, height: 740 }, colorScheme: 'dark' },
};

for (const [look, context] of Object.entries(LOOKS)) {
  test(`axe finds nothing, and nothing is wider than the screen: ${look}`, async (t) => {
    const picture = async (page, name) =>
      PICTURES && page.screenshot({ path: `${PICTURES}/${look}-${name}.png` });
    const check = async (page, name) => {
      assert.deepEqual(await faults(page), [], name);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      assert.equal(wide, false, `${name} is wider than the screen`);
      await picture(page, name);
    };
    const url = cluster.proxies[0].url;
    const anyone = await (await browser.newContext(context)).newPage();
    await anyone.goto(url);
    await check(anyone, 'sign-in');
    const alice = await person(browser, url, `alice-${look}`, { context });
    const bob = await person(browser, cluster.proxies[1].url, `bob-${look}`);
    t.after(() => Promise.all([alice.close(), bob.close(), anyone.context().close()]));
    await check(alice.page, 'empty');
    await alice.writeTo(bob.user);
    await bob.writeTo(alice.user);
    const said = [
      [bob, 'Did you see the new gateway?'],
      [alice, 'Yes: it fell back to long polling behind the proxy, and nothing was lost.'],
      [bob, 'שלום! مرحبا'],
      [alice, 'A long line without a pause: '.repeat(6).trim()],
    ];
    for (const [n, [who, text]] of said.entries()) {
      await who.say(text);
      for (const one of [alice, bob]) await one.sees(said.slice(0, n + 1).map(([, seen]) => seen));
    }
    await bob.page.getByRole('button', { name: 'What to do with this message' }).nth(1).click();
    await bob.page.getByRole('button', { name: 'React with ❤️' }).click();
    await alice.page.getByRole('button', { name: /❤️ 1 by/ }).waitFor();
    await check(alice.page, 'full');
    const proxy = cluster.proxies[0];
    proxy.state.down = true;
    proxy.cut();
    await alice.say('Written without a network');
    await alice.page.getByRole('img', { name: 'waiting' }).waitFor();
    await check(alice.page, 'offline');
    proxy.state.down = false;
    await bob.page.getByText('Written without a network').first().waitFor();
  });
}

test('everything can be done with the keyboard alone', async (t) => {
  const context = await browser.newContext({ viewport: { width: 1000, height: 700 } });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(cluster.proxies[0].url);
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await page.keyboard.type('kim');
  await press('Enter');
  await page.getByLabel('Token').waitFor();
  await page.keyboard.type(tokenOf('kim'));
  await press('Enter');
  await page.getByText(/^connected/).waitFor();
  await page.getByLabel('Write to').focus();
  await page.keyboard.type('lee');
  await press('Enter');
  await page.getByRole('heading', { name: 'lee', level: 1 }).waitFor();
  // The title has the focus; the messages and then the field come after it.
  await press('Tab', 'Tab');
  await page.keyboard.type('by keyboard');
  await press('Enter');
  await page.getByRole('img', { name: 'sent' }).waitFor();
  await press('ArrowUp');
  await page.keyboard.type(' alone');
  await press('Enter');
  await page.locator('.bubble', { hasText: 'by keyboard alone' }).waitFor();
  await press('Shift+Tab', 'Enter');
  await page.getByRole('toolbar', { name: 'Message' }).waitFor();
});

test('ten thousand messages stay smooth', async (t) => {
  const [alice, bob] = [`alice-many`, `bob-many`];
  const [writer, token] = [cluster.client(0), tokenOf(alice)];
  const send = (n) =>
    writer.post(token, '/v1/messages', { to: bob, body: `message ${n}`, client_msg_id: `m${n}` });
  const COUNT = 10_000;
  for (let n = 0; n < COUNT; n += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, k) => send(n + k)));
  }
  const reader = await person(browser, cluster.proxies[1].url, bob);
  t.after(() => reader.close());
  await reader.writeTo(alice);
  const count = () => reader.page.locator('.message').count();
  const log = reader.page.locator('#messages');
  const deadline = Date.now() + 120_000;
  while ((await count()) < COUNT) {
    assert.ok(Date.now() < deadline, `only ${await count()} were read`);
    await log.evaluate((element) => (element.scrollTop = 0));
    await reader.page.waitForTimeout(5);
  }
  // A reader who scrolls waits for no frame longer than a tenth of a second.
  const longest = await log.evaluate(async (element) => {
    let worst = 0;
    let last = performance.now();
    for (let n = 0; n < 60; n++) {
      element.scrollTop = (n * 7919) % element.scrollHeight;
      await new Promise((over) => requestAnimationFrame(over));
      const now = performance.now();
      worst = Math.max(worst, now - last);
      last = now;
    }
    return worst;
  });
  t.diagnostic(`the longest of sixty frames while scrolling: ${longest.toFixed(0)} ms`);
});

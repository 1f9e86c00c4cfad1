// Chromium for a test in another language: each line of standard input is an
// order, each line of standard output its answer. Ends when its input does.
//
// Orders: {do: "open", at}            a page, at the site or at any other origin
//         {do: "read", page, …}       it begins to read (page/client.js)
//         {do: "request", page, …}    it makes a request
//         {do: "shown", page, count}  waits until it lists so many; gives all
//         {do: "ended", page}         waits until a connection of it has ended
//         {do: "node", page, not}     waits until it is welcomed by another node
//         {do: "ran", page}           whether a body's script ran anywhere in it
// Answers, in the order of the orders: {value} or {error}. The first line of
// all is the site's port.

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { file, serve } from './site.mjs';

const [executablePath, patience] = [process.argv[2], Number(process.argv[3])];
const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const browser = await chromium.launch({ executablePath, args: flags, timeout: patience });
const pages = [];
const site = await serve();

/** A page at the site, or at any other origin as if that served it. */
async function open({ at }) {
  const brought = new URL(at).port !== String(site);
  // The answer in whose place our page comes has a policy of its own: it runs nothing.
  const page = await browser.newPage({ bypassCSP: brought });
  page.setDefaultTimeout(patience);
  await page.goto(`${at}/page/index.html`);
  if (brought) await bring(page, `${at}/page/`);
  await page.waitForFunction(() => window.client);
  return pages.push(page) - 1;
}

/** Puts our page into the place of the answer that a server without it gave:
 *  Chromium takes a wholly made-up answer for one from the internet, which
 *  then may not use the loopback. Afterwards nothing stands between the page
 *  and the network. */
async function bring(page, at) {
  await page.route(`${at}**`, async (route) => route.fulfill(await file(new URL(route.request().url()).pathname)));
  const { body } = await file('/page/index.html');
  await page.setContent(body.toString());
  await page.waitForFunction(() => window.client);
  await page.unroute(`${at}**`);
}

const orders = {
  open,
  read: ({ page, ...how }) => pages[page].evaluate((how) => void window.client.read(how), how),
  request: ({ page, ...what }) => pages[page].evaluate((what) => window.client.request(what), what),
  async shown({ page, count }) {
    const listed = () => pages[page].$$eval('#shown > li', (items) => items.map((item) => item.textContent));
    const enough = (count) => document.querySelectorAll('#shown > li').length >= count;
    try {
      await pages[page].waitForFunction(enough, count);
    } catch (error) {
      const ends = await pages[page].evaluate(() => window.client.state.ends);
      throw new Error(`${error.message}; shown: ${JSON.stringify(await listed())}; ends: ${ends}`);
    }
    return listed();
  },
  async ended({ page }) {
    await pages[page].waitForFunction(() => window.client.state.ends.length > 0);
    return pages[page].evaluate(() => window.client.state.ends[0]);
  },
  async node({ page, not }) {
    const another = (not) => window.client.state.node !== null && window.client.state.node !== not;
    await pages[page].waitForFunction(another, not ?? null);
    return pages[page].evaluate(() => window.client.state.node);
  },
  async ran({ page }) {
    const looks = pages[page].frames().map((frame) => frame.evaluate(() => window.injected === true));
    return (await Promise.all(looks)).some(Boolean);
  },
};

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

say({ value: site });
for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...order } = JSON.parse(line);
  try {
    say({ value: (await orders[name](order)) ?? null });
  } catch (error) {
    say({ error: error.message });
  }
}
await Promise.race([browser.close(), new Promise((late) => setTimeout(late, 5000))]);
process.exit(0);

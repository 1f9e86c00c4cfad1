// Chromium, and people who use the page in it.
import { chromium } from 'playwright-core';
import { tokenOf } from './cluster.mjs';

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
const QUIET = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];

export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...ARGS, ...QUIET] });

/** Somebody with the page open and signed in; errors of the page are gathered. */
export async function person(browser, url, user, { context = {}, life } = {}) {
  const own = await browser.newContext({ viewport: { width: 1000, height: 700 }, ...context });
  return personIn(own, url, user, life);
}

/** The same in a context that is there: another tab. */
export async function personIn(context, url, user, life) {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(url);
  await page.getByLabel('Your name').fill(user);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByLabel('Token').fill(tokenOf(user, life));
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText(/^connected/).waitFor();
  return new Person(context, page, user, errors);
}

export class Person {
  constructor(context, page, user, errors) {
    Object.assign(this, { context, page, user, errors });
  }

  /** Opens the conversation with somebody. */
  async writeTo(user) {
    await this.page.getByLabel('Write to').fill(user);
    await this.page.keyboard.press('Enter');
    await this.page.getByRole('heading', { name: user, exact: true, level: 1 }).waitFor();
  }

  /** Types a message and presses Enter. */
  async say(text) {
    await this.page.getByLabel('Message', { exact: true }).fill(text);
    await this.page.keyboard.press('Enter');
  }

  /** The messages on the screen, from top to bottom. */
  messages() {
    return this.page.locator('.message .bubble').allTextContents();
  }

  /** Waits until the screen shows just these messages, in this order. */
  async sees(texts, within = 30_000) {
    const deadline = Date.now() + within;
    for (;;) {
      const seen = await this.messages();
      if (seen.length === texts.length && seen.every((text, n) => text === texts[n])) return;
      if (Date.now() > deadline) {
        const state = await this.page.locator('#state').textContent();
        throw new Error(`${this.user} (${state}) sees ${JSON.stringify(seen)}, not ${JSON.stringify(texts)}`);
      }
      await new Promise((over) => setTimeout(over, 50));
    }
  }

  /** Waits until the message with this text has this mark. */
  marked(text, mark) {
    const message = this.page.locator('.message', { has: this.page.getByText(text, { exact: true }) });
    return message.getByRole('img', { name: mark, exact: true }).waitFor();
  }

  async connection() {
    const panel = this.page.locator('#connection');
    if ((await panel.getAttribute('open')) === null) await panel.locator('summary').click();
    return panel;
  }

  /** Chooses a transport in the panel and waits until it carries. */
  async use(transport) {
    await this.connection();
    await this.page.locator('#use').selectOption(transport);
    await this.page.getByText(new RegExp(`^connected · ${transport}`)).waitFor();
  }

  close() {
    return this.context.close();
  }
}

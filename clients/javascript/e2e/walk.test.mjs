// Two people, and whatever happens to browsers and networks, at random: nothing is lost, doubled or out
// of order on either screen. `SEED` repeats a run, `WALK_SECONDS` makes it longer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { launch, person } from './support/browser.mjs';
import { startCluster } from './support/cluster.mjs';

const seed = Number(process.env.SEED ?? Date.now() % 1e9);
const seconds = Number(process.env.WALK_SECONDS ?? 60);

/** Mulberry32: small, and the same everywhere. */
function random(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test(`a random walk of faults (SEED=${seed})`, { timeout: (seconds + 120) * 1000 }, async (t) => {
  const [cluster, browser] = await Promise.all([startCluster(), launch()]);
  t.after(async () => {
    await browser.close();
    await cluster.stop();
  });
  const people = await Promise.all([
    person(browser, cluster.proxies[0].url, 'alice'),
    person(browser, cluster.proxies[1].url, 'bob'),
  ]);
  await people[0].writeTo('bob');
  await people[1].writeTo('alice');

  const next = random(seed);
  const pick = (list) => list[Math.floor(next() * list.length)];
  const pause = (most) => new Promise((over) => setTimeout(over, next() * most));
  const said = { alice: [], bob: [] };
  const faults = {
    cut: async () => pick(cluster.proxies).cut(),
    async down() {
      const proxy = pick(cluster.proxies);
      proxy.state.down = true;
      proxy.cut();
      await pause(3_000);
      proxy.state.down = false;
    },
    async upgrades() {
      pick(cluster.proxies).state.upgrades = pick(['pass', 'refuse', 'drop', 'silent']);
    },
    async cutAfter() {
      pick(cluster.proxies).state.cutAfter = pick([0, 0, 2_000, 5_000]);
    },
    async transport() {
      const { page } = pick(people);
      await page.evaluate(
        (value) => {
          const select = document.getElementById('use');
          select.value = value;
          select.dispatchEvent(new Event('change'));
        },
        pick(['', 'websocket', 'sse', 'stream', 'poll', 'short-poll']),
      );
    },
    async reload() {
      await pick(people).page.reload();
    },
    async restart() {
      const n = pick([0, 1]);
      await cluster.kill(`gw-${n + 1}`);
      await pause(2_000);
      await cluster.startGateway(n);
    },
  };
  const names = Object.keys(faults);
  const happened = [];
  const end = Date.now() + seconds * 1000;
  for (let count = 0; Date.now() < end;) {
    for (let n = 0; n < 3; n++) {
      const who = pick(people);
      const text = `${who.user} ${++count}`;
      await who.say(text);
      said[who.user].push(text);
    }
    const fault = pick(names);
    happened.push(fault);
    await faults[fault]();
    await pause(800);
  }
  t.diagnostic(`${said.alice.length + said.bob.length} messages, ${happened.join(' ')}`);

  for (const proxy of cluster.proxies)
    Object.assign(proxy.state, { down: false, upgrades: 'pass', cutAfter: 0 });
  const all = [...said.alice, ...said.bob];
  for (const who of people) {
    await who.page.reload();
    const deadline = Date.now() + 60_000;
    let seen = [];
    while (Date.now() < deadline && seen.length < all.length) {
      const older = who.page.getByRole('button', { name: 'Older messages' });
      if (await older.isVisible()) await older.click({ timeout: 1_000 }).catch(() => {});
      seen = await who.messages();
    }
    assert.deepEqual([...seen].sort(), [...all].sort(), `${who.user}: nothing missing, nothing twice`);
    for (const texts of Object.values(said)) {
      const mine = seen.filter((text) => texts.includes(text));
      assert.deepEqual(mine, texts, `${who.user}: in the order in which they were written`);
    }
    assert.deepEqual(who.errors, []);
  }
});

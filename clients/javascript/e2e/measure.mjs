// Prints the client's table in docs/PERFORMANCE.md: what the client weighs, how long it takes to connect and to fall back.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { launch } from './support/browser.mjs';
import { startCluster, tokenOf } from './support/cluster.mjs';

const ROUNDS = 5;
const FAULTS = {
  'upgrades refused': { upgrades: 'refuse' },
  'WebSocket opens and passes nothing': { upgrades: 'silent' },
  'upgrades refused, answers buffered': { upgrades: 'refuse', buffer: true },
};

const size = (name) =>
  gzipSync(readFileSync(new URL(`../dist/${name}`, import.meta.url)), { level: 9 }).length;
console.log(`client, minified and gzipped: ${size('switchboard.min.js')} bytes`);

const [cluster, browser] = await Promise.all([startCluster(), launch()]);
let count = 0;

/** Milliseconds until a new client of a new browser profile is connected, and over what. */
async function connect(url, options = {}) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(url);
  await page.addScriptTag({ url: '/switchboard.min.js' });
  const answer = await page.evaluate(
    async ([server, token, more]) => {
      const client = new globalThis.Switchboard(server, { token, ...more });
      const begun = performance.now();
      await client.connect();
      return [performance.now() - begun, client.transport];
    },
    [url, tokenOf(`measured${++count}`), options],
  );
  await context.close();
  return answer;
}

async function median(name, run) {
  const rounds = [];
  for (let n = 0; n < ROUNDS; n++) rounds.push(await run());
  rounds.sort(([a], [b]) => a - b);
  const [milliseconds, transport] = rounds[ROUNDS >> 1];
  console.log(`${name}: ${Math.round(milliseconds)} ms (${transport})`);
}

try {
  for (const name of ['websocket', 'sse', 'stream', 'poll', 'short-poll']) {
    await median(`connect over ${name}`, () =>
      connect(`http://127.0.0.1:${cluster.gateways[0]}/`, { transports: [name] }),
    );
  }
  for (const [name, behaviour] of Object.entries(FAULTS)) {
    Object.assign(cluster.proxies[0].state, { upgrades: 'pass', buffer: false }, behaviour);
    await median(name, () => connect(cluster.proxies[0].url));
  }
} finally {
  await browser.close();
  await cluster.stop();
}

// The examples are run as they stand; only the server's address is another one.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { launch } from './support/browser.mjs';
import { startStandalone } from './support/cluster.mjs';

const run = promisify(execFile);
const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const example = (name) => join(PACKAGE, 'examples', name);

let server;
before(async () => {
  server = await startStandalone();
});
after(() => server?.stop());

test('two browsers chat through the page of the quick start', async (t) => {
  const text = readFileSync(example('browser.html'), 'utf8').replaceAll('http://127.0.0.1:8080', server.url);
  const site = http.createServer((_, response) => response.setHeader('content-type', 'text/html').end(text));
  await new Promise((over) => site.listen(0, '127.0.0.1', over));
  const browser = await launch();
  t.after(async () => {
    await browser.close();
    site.closeAllConnections();
    site.close();
  });
  const open = async (me, you) => {
    const page = await (await browser.newContext()).newPage();
    await page.goto(`http://127.0.0.1:${site.address().port}/?me=${me}&you=${you}`);
    return page;
  };
  const [alice, bob] = [await open('alice', 'bob'), await open('bob', 'alice')];
  await alice.locator('#text').fill('hi bob');
  await alice.keyboard.press('Enter');
  await bob.getByText('alice: hi bob').waitFor();
  await bob.locator('#text').fill('hi alice');
  await bob.keyboard.press('Enter');
  await alice.getByText('bob: hi alice').waitFor();
});

test('the package installs from what `npm pack` makes, and the example for Node runs with it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'switchboard-pack-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const packed = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: PACKAGE });
  const [{ filename, files }] = JSON.parse(packed.stdout.slice(packed.stdout.indexOf('[\n')));
  assert.ok(files.some(({ path }) => path === 'dist/index.d.ts'));
  assert.ok(!files.some(({ path }) => path.startsWith('src/') || path.includes('page.js')));
  writeFileSync(join(folder, 'package.json'), '{"type":"module","private":true}');
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', join(folder, filename)], {
    cwd: folder,
  });
  cpSync(example('node.mjs'), join(folder, 'node.mjs'));

  const env = { ...process.env, TOKEN: await server.token('node') };
  const child = spawn(process.execPath, ['node.mjs', server.url], { cwd: folder, env });
  t.after(() => child.kill());
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  const says = async (line) => {
    const deadline = Date.now() + 30_000;
    while (!output.includes(line)) {
      assert.ok(Date.now() < deadline, `no "${line}" in: ${output}`);
      await new Promise((over) => setTimeout(over, 50));
    }
  };
  await says('sent as number 1 of bob~node');
  const headers = { authorization: `Bearer ${await server.token('bob')}` };
  const body = JSON.stringify({ to: 'node', body: 'welcome' });
  await fetch(`${server.url}/v1/messages`, { method: 'POST', headers, body });
  await says('bob: welcome');

  // And its types serve a program that is checked strictly.
  writeFileSync(
    join(folder, 'use.ts'),
    `import { Switchboard, type Frame } from 'switchboard-client';
     import { Chat } from 'switchboard-client/chat';
     import { iframe } from 'switchboard-client/iframe';
     const client = new Switchboard('http://x', { transports: ['websocket', iframe] });
     client.on('message', ({ seq }) => { const number: number = seq; return void number; });
     export const snapshot = new Chat(client).snapshot();
     export const sent: Promise<{ seq: number }> = client.send({ to: 'bob', body: { text: 'x' } });
     export const last = (frame: Frame) => (frame.type === 'edited' ? frame.body : undefined);`,
  );
  const tsc = join(PACKAGE, 'node_modules/typescript/bin/tsc');
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2022,dom',
  ];
  await run(process.execPath, [tsc, ...options, 'use.ts'], { cwd: folder }).catch((error) =>
    assert.fail(error.stdout),
  );
});

test('the example for curl sends and reads', async () => {
  const [ALICE, BOB] = [await server.token('curl-alice'), await server.token('bob')];
  const env = { ...process.env, ALICE, BOB };
  const { stdout } = await run(example('curl.sh'), [server.url], { env });
  assert.match(stdout, /"conversation":"bob~curl-alice","seq":1/);
  assert.match(stdout, /"from":"curl-alice".*"body":"hello from curl"/);
});

test('the reference is made from the types as they are', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'switchboard-reference-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  await run('npx', ['typedoc', '--logLevel', 'Warn', '--out', folder], { cwd: PACKAGE });
  for (const name of ['README.md', 'index.md', 'chat.md', 'iframe.md']) {
    const committed = readFileSync(join(PACKAGE, 'reference', name), 'utf8');
    assert.equal(
      readFileSync(join(folder, name), 'utf8'),
      committed,
      'run `npm run docs` and commit the result',
    );
  }
});

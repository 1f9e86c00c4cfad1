// A real cluster for a test: Redis, a router, two gateways, each gateway behind a proxy of its own.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, existsSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startProxy } from '../../test/support/proxy.mjs';

const BIN =
  process.env.SWITCHBOARD_BIN ?? fileURLToPath(new URL('../../../../target/debug', import.meta.url));
const SECRET = 'a-secret-of-32-bytes-for-browser-tests';

async function freePort() {
  const server = net.createServer();
  await new Promise((over) => server.listen(0, '127.0.0.1', over));
  const { port } = server.address();
  await new Promise((over) => server.close(over));
  return port;
}

/** A token that the gateways believe. */
export function tokenOf(user, life = 3600, scope = undefined) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, iat: now, exp: now + life, scope })}`;
  return `${head}.${createHmac('sha256', SECRET).update(head).digest('base64url')}`;
}

/** Started processes of a test. */
class Cluster {
  #children = new Map();
  #folder = mkdtempSync(join(tmpdir(), 'switchboard-e2e-'));
  proxies = [];
  #more;

  /** `more` are further arguments of each gateway. */
  constructor(more = []) {
    this.#more = more;
  }

  async start() {
    for (const name of ['gateway', 'router']) {
      if (!existsSync(join(BIN, name)))
        throw new Error(`${name} is not built: cargo build --bins -p ${name}`);
    }
    [this.redis, this.router, ...this.gateways] = await Promise.all([1, 2, 3, 4].map(freePort));
    this.peers = await Promise.all([1, 2].map(freePort));
    const redis = ['--port', this.redis, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes'];
    this.#run('redis', 'redis-server', [...redis, '--dir', this.#folder]);
    const router = ['--listen', `127.0.0.1:${this.router}`, '--admin-listen', '127.0.0.1:0'];
    this.#run('router', join(BIN, 'router'), [...router, '--store', `redis://127.0.0.1:${this.redis}`]);
    for (const n of [0, 1]) await this.startGateway(n);
    this.proxies = await Promise.all(this.gateways.map((port) => startProxy([port])));
    return this;
  }

  async startGateway(n) {
    const port = this.gateways[n];
    const args = [
      '--messages-per-second',
      0,
      '--node',
      `gw-${n + 1}`,
      '--listen',
      `127.0.0.1:${port}`,
      '--admin-listen',
      '127.0.0.1:0',
      '--peer-listen',
      `127.0.0.1:${this.peers[n]}`,
      '--peer-address',
      `http://127.0.0.1:${this.peers[n]}`,
    ];
    const links = [
      '--store',
      `redis://127.0.0.1:${this.redis}`,
      '--router',
      `http://127.0.0.1:${this.router}`,
    ];
    this.#run(`gw-${n + 1}`, join(BIN, 'gateway'), [...args, ...links, ...this.#more]);
    await this.#answers(port);
  }

  #run(name, program, args) {
    const env = { PATH: process.env.PATH, SWITCHBOARD_JWT_SECRET: SECRET };
    const child = spawn(program, args.map(String), { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => (log = (log + data).slice(-20_000)));
    }
    child.on('error', (error) => (log += String(error)));
    child.log = () => log;
    this.#children.set(name, child);
  }

  async #answers(port, within = 60_000) {
    const deadline = Date.now() + within;
    for (;;) {
      try {
        const answer = await fetch(`http://127.0.0.1:${port}/v1/poll?wait=0&token=${tokenOf('probe')}`);
        if (answer.ok) return;
      } catch {
        // Not yet.
      }
      if (Date.now() > deadline) {
        const logs = [...this.#children].map(([name, child]) => `${name}: ${child.log()}`);
        throw new Error(`the cluster did not start\n${logs.join('\n')}`);
      }
      await new Promise((over) => setTimeout(over, 50));
    }
  }

  /** Requests over HTTP at one gateway; what is not answered with 200 is an error. */
  client(n) {
    const request = async (token, path, options) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const answer = await fetch(`http://127.0.0.1:${this.gateways[n]}${path}`, { headers, ...options });
      if (answer.status !== 200) throw new Error(`${path}: ${answer.status}: ${await answer.text()}`);
      return answer.json();
    };
    const post = (token, path, body) => request(token, path, { method: 'POST', body: JSON.stringify(body) });
    return {
      post,
      /** Writes to somebody. */
      write: (from, to, body) => post(tokenOf(from), '/v1/messages', { to, body }),
      /** What has been written to somebody by somebody, from the log. */
      async written(reader, writer) {
        const conversation = [reader, writer].sort().join('~');
        const path = `/v1/conversations/${conversation}/messages?limit=200`;
        const { messages } = await request(tokenOf(reader), path);
        return messages.filter((message) => message.from === writer).map((message) => message.body);
      },
    };
  }

  /** Kills a process at once. */
  async kill(name) {
    const child = this.#children.get(name);
    this.#children.delete(name);
    await new Promise((over) => {
      child.once('exit', over);
      child.kill('SIGKILL');
    });
  }

  async stop() {
    await Promise.all(this.proxies.map((proxy) => proxy.stop()));
    await Promise.all([...this.#children.keys()].map((name) => this.kill(name)));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export const startCluster = (more) => new Cluster(more).start();

/** The whole system in one process, as `cargo run` starts it; gives tokens to anybody. */
export async function startStandalone() {
  const folder = mkdtempSync(join(tmpdir(), 'switchboard-e2e-'));
  const port = await freePort();
  const args = [
    '--listen',
    `127.0.0.1:${port}`,
    '--admin-listen',
    '127.0.0.1:0',
    '--store',
    `embedded:${folder}`,
  ];
  const child = spawn(join(BIN, 'standalone'), args, { stdio: 'ignore', env: { PATH: process.env.PATH } });
  const url = `http://127.0.0.1:${port}`;
  const token = async (user) => {
    const answer = await fetch(`${url}/dev/token`, { method: 'POST', body: JSON.stringify({ user }) });
    return (await answer.json()).token;
  };
  for (let n = 0; !(await token('probe').catch(() => false)); n++) {
    if (n > 600 || child.exitCode !== null) throw new Error('standalone did not start');
    await new Promise((over) => setTimeout(over, 100));
  }
  return {
    url,
    token,
    async stop() {
      await new Promise((over) => child.once('exit', over) && child.kill('SIGKILL'));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

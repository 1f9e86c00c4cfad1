import assert from 'node:assert/strict';
import test from 'node:test';
import { clientOf, serve, until } from './support/client.mjs';
import { startProxy } from './support/proxy.mjs';
import { tokenOf } from './support/server.mjs';

/** Sends numbered messages to bob, a few at a time, until `stop` is called. */
function talk(server) {
  let n = 0;
  const timer = setInterval(() => server.send('alice', { to: 'bob', body: ++n, client_msg_id: `m${n}` }), 20);
  return {
    stop: () => clearInterval(timer),
    get said() {
      return Array.from({ length: n }, (_, index) => index + 1);
    },
  };
}

for (const transport of ['websocket', 'stream', 'poll', 'short-poll']) {
  test(`${transport} brings every message once, across breaks, and sends`, async (t) => {
    const server = await serve(t);
    const client = clientOf(t, server, 'bob', { transports: [transport] });
    await client.connect();
    assert.equal(client.transport, transport);
    const talking = talk(server);
    t.after(talking.stop);
    for (let cut = 1; cut <= 3; cut++) {
      await until(() => client.bodies.length > cut * 10, 'messages');
      for (const session of server.sessions) session.end();
    }
    await until(() => client.bodies.length > 50, 'messages after the breaks');
    talking.stop();
    await until(() => client.bodies.length >= talking.said.length, 'the last message');
    assert.deepEqual(client.bodies, talking.said);
    const sent = await client.send({ to: 'carol', body: 'hi' });
    assert.deepEqual([sent.conversation, sent.seq], ['bob~carol', 1]);
  });
}

test('a refused upgrade is left for the next transport, which is remembered', async (t) => {
  const server = await serve(t);
  server.sockets = 'refuse';
  const storage = new Map();
  const kept = {
    getItem: (key) => storage.get(key) ?? null,
    setItem: (key, value) => storage.set(key, value),
    removeItem: (key) => storage.delete(key),
  };
  const client = clientOf(t, server, 'bob', { storage: kept });
  await client.connect();
  // Node has no EventSource, so `sse` is passed over.
  assert.equal(client.transport, 'stream');
  await client.disconnect();
  server.sockets = 'pass';
  const next = clientOf(t, server, 'bob', { storage: kept });
  await next.connect();
  assert.equal(next.transport, 'stream');
});

test('a WebSocket that opens and passes nothing counts as broken', async (t) => {
  const server = await serve(t);
  server.sockets = 'silent';
  const client = clientOf(t, server);
  await client.connect();
  assert.equal(client.transport, 'stream');
});

test('a stream that a proxy buffers is noticed by the missing welcome', async (t) => {
  const server = await serve(t);
  server.sockets = 'refuse';
  server.buffered = true;
  const client = clientOf(t, server);
  await client.connect();
  assert.equal(client.transport, 'poll');
});

test('a WebSocket that is dropped again and again is left, and no message is lost or repeated', async (t) => {
  const server = await serve(t);
  server.sockets = 'drop';
  const client = clientOf(t, server);
  const talking = talk(server);
  t.after(talking.stop);
  await client.connect();
  await until(() => client.transport === 'stream', 'another transport');
  await until(() => client.bodies.length > 20, 'messages');
  talking.stop();
  const first = client.bodies[0];
  await until(() => client.bodies.at(-1) === talking.said.at(-1), 'the last message');
  assert.deepEqual(client.bodies, talking.said.slice(first - 1));
});

test('behind a proxy that cuts every connection the polls wait for less', async (t) => {
  const server = await serve(t);
  const proxy = await startProxy([server.port], { cutAfter: 2_500 });
  t.after(() => proxy.stop());
  const client = clientOf(t, { url: proxy.url }, 'bob', { transports: ['poll'] });
  await client.connect();
  await until(() => server.waits.at(-1) === 3, `a shorter wait than ${server.waits}`);
  server.send('alice', { to: 'bob', body: 'late', client_msg_id: 'm' });
  await until(() => client.bodies.includes('late'), 'the message');
});

test('where nothing works the error is said, and the client goes on trying', async (t) => {
  const server = await serve(t);
  const proxy = await startProxy([server.port], { down: true });
  t.after(() => proxy.stop());
  const client = clientOf(t, { url: proxy.url });
  const connected = client.connect();
  await until(() => client.error, 'an error');
  assert.equal(client.state, 'connecting');
  assert.equal(client.error.code, 'disconnected');
  proxy.state.down = false;
  await connected;
  assert.equal(client.state, 'connected');
});

test('a token that is refused and cannot be renewed ends it with `unauthorized`', async (t) => {
  const server = await serve(t);
  const token = tokenOf('bob');
  server.expired.add(token);
  const client = clientOf(t, server, 'bob', { token });
  await assert.rejects(client.connect(), { code: 'unauthorized' });
  assert.equal(client.state, 'disconnected');
});

for (const transport of ['websocket', 'stream', 'poll']) {
  test(`on ${transport} a token that ended is replaced by \`getToken\``, async (t) => {
    const server = await serve(t);
    const tokens = [tokenOf('bob', { jti: 1 }), tokenOf('bob', { jti: 2 })];
    let asked = 0;
    const options = { token: undefined, getToken: () => tokens[asked++], transports: [transport] };
    const client = clientOf(t, server, 'bob', options);
    await client.connect();
    server.expired.add(tokens[0]);
    server.push('bob', { type: 'goaway', reason: 'token_expired' });
    for (const session of server.sessions) session.end();
    server.send('alice', { to: 'bob', body: 'after', client_msg_id: 'm' });
    await until(() => client.bodies.includes('after'), 'the message');
    assert.equal(asked, 2);
  });

  test(`on ${transport} the token is renewed before it ends`, async (t) => {
    const server = await serve(t);
    let asked = 0;
    const getToken = () => tokenOf('bob', { life: 3, jti: ++asked });
    const client = clientOf(t, server, 'bob', { token: undefined, getToken, transports: [transport] });
    await client.connect();
    await until(() => asked >= 2, 'another token');
    await until(() => client.state === 'connected', 'a connection');
  });
}

for (const reason of ['replaced', 'kicked']) {
  test(`after \`${reason}\` the client stays away`, async (t) => {
    const server = await serve(t);
    const client = clientOf(t, server);
    await client.connect();
    server.push('bob', { type: 'goaway', reason });
    await until(() => client.state === 'disconnected', 'the end');
    assert.equal(client.error.code, reason);
    assert.equal(server.sessions.size > 0 && client.transport, false);
  });
}

test('after `shutdown` the client goes when it was told, and is served until then', async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server, 'bob', { transports: ['websocket'] });
  await client.connect();
  const states = [];
  client.on('state', ({ state }) => states.push(state));
  server.push('bob', { type: 'goaway', reason: 'shutdown', reconnect_in_ms: 300 });
  server.send('alice', { to: 'bob', body: 'still here', client_msg_id: 'm' });
  await until(() => client.bodies.includes('still here'), 'the message');
  assert.deepEqual(states, []);
  await until(() => states.includes('connected'), 'the return');
  assert.deepEqual(client.bodies, ['still here']);
});

test('a reset is handed out, and reading goes on after it', async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  const resets = [];
  client.on('reset', ({ reason }) => resets.push(reason));
  await client.connect();
  server.push('bob', { type: 'reset', reason: 'trimmed', cursor: '0.f' });
  server.send('alice', { to: 'bob', body: 1, client_msg_id: 'm' });
  await until(() => client.bodies.length, 'the message');
  assert.deepEqual(resets, ['trimmed']);
  assert.equal(client.cursor, '1.f');
});

test('a better transport is used again once it works', async (t) => {
  const server = await serve(t);
  server.sockets = 'refuse';
  const client = clientOf(t, server);
  await client.connect();
  assert.equal(client.transport, 'stream');
  await client.disconnect();
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() });
  const connected = client.connect();
  await turns(() => client.state === 'connected');
  await connected;
  assert.equal(client.transport, 'stream');
  server.sockets = 'pass';
  // What was left is left alone for a minute or two: they pass.
  t.mock.timers.tick(130_000);
  await turns(() => client.transport === 'websocket');
});

/** Waits for a condition while the timers stand still. */
async function turns(condition) {
  for (let n = 0; !condition(); n++) {
    assert.ok(n < 1e6, 'it never came');
    await new Promise((over) => setImmediate(over));
  }
}

test('where `getToken` failed once, the next `connect` asks it again', async (t) => {
  const server = await serve(t);
  let asked = 0;
  const getToken = () => {
    if (++asked === 1) throw new Error('the own server is away');
    return tokenOf('bob');
  };
  const client = clientOf(t, server, 'bob', { token: undefined, getToken });
  await assert.rejects(client.connect(), { code: 'unavailable' });
  await client.connect();
  assert.deepEqual([client.state, client.user], ['connected', 'bob']);
});

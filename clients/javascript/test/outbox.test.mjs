import assert from 'node:assert/strict';
import test from 'node:test';
import { memory } from './support/memory.mjs';
import { clientOf, serve, until } from './support/client.mjs';
import { startProxy } from './support/proxy.mjs';
import { Server } from './support/server.mjs';

const refuse = (status, code, more) => () => {
  throw new Server.Refusal(status, code, more);
};
const bodiesIn = (server, user) => server.inbox(user).map(({ body }) => body);

for (const transport of ['websocket', 'stream', 'poll']) {
  test(`over ${transport} what is sent without a connection goes later, in order, once`, async (t) => {
    const server = await serve(t);
    const proxy = await startProxy([server.port], { down: true });
    t.after(() => proxy.stop());
    const client = clientOf(t, { url: proxy.url }, 'bob', { transports: [transport] });
    const connected = client.connect();
    const sends = Array.from({ length: 20 }, (_, n) => client.send({ to: 'alice', body: n }));
    await until(() => client.error, 'a failure');
    assert.equal(client.outbox.length, 20);
    proxy.state.down = false;
    await connected;
    const sent = await Promise.all(sends);
    assert.deepEqual(
      sent.map(({ seq }) => seq),
      Array.from({ length: 20 }, (_, n) => n + 1),
    );
    assert.deepEqual(bodiesIn(server, 'alice'), [...sends.keys()]);
    assert.equal(client.outbox.length, 0);
  });

  test(`over ${transport} a lost answer is no second message`, async (t) => {
    const server = await serve(t);
    const client = clientOf(t, server, 'bob', { transports: [transport] });
    await client.connect();
    server.faults.push(() => 'lose');
    const sent = await client.send({ to: 'alice', body: 'once' });
    assert.equal(sent.duplicate, true);
    assert.deepEqual(bodiesIn(server, 'alice'), ['once']);
    await until(() => client.bodies.length === 1, 'the own message');
  });

  test(`over ${transport} \`unavailable\` and \`rate_limited\` keep the order`, async (t) => {
    const server = await serve(t);
    const client = clientOf(t, server, 'bob', { transports: [transport] });
    await client.connect();
    server.faults.push(
      refuse(503, 'unavailable', { retry_after_ms: 30 }),
      refuse(429, 'rate_limited', { retry_after_ms: 60 }),
      () => {},
      refuse(503, 'unavailable', { retry_after_ms: 10 }),
    );
    await Promise.all([1, 2, 3, 4].map((body) => client.send({ to: 'alice', body })));
    assert.deepEqual(bodiesIn(server, 'alice'), [1, 2, 3, 4]);
  });

  test(`over ${transport} what cannot be sent is rejected and blocks nothing`, async (t) => {
    const server = await serve(t);
    const client = clientOf(t, server, 'bob', { transports: [transport] });
    await client.connect();
    const rejected = [];
    client.on('rejected', ({ error }) => rejected.push(error.code));
    server.faults.push(refuse(413, 'too_large'), refuse(403, 'forbidden'));
    const sends = [1, 2, 3].map((body) => client.send({ to: 'alice', body }));
    const outcome = await Promise.allSettled(sends);
    assert.deepEqual(
      outcome.map(({ status }) => status),
      ['rejected', 'rejected', 'fulfilled'],
    );
    assert.deepEqual(rejected, ['too_large', 'forbidden']);
    assert.deepEqual(bodiesIn(server, 'alice'), [3]);
  });
}

test('a conversation that must wait does not hold another one back', async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server, 'bob', { transports: ['websocket'] });
  await client.connect();
  server.faults.push(refuse(404, 'not_found'));
  const gone = client.send({ conversation: 'g_gone', body: 'x' });
  const fine = client.send({ to: 'alice', body: 'y' });
  await assert.rejects(gone, { code: 'not_found' });
  assert.equal((await fine).seq, 1);
});

test('the next page goes on: the cursor and what was not sent are kept', async (t) => {
  const server = await serve(t);
  const proxy = await startProxy([server.port]);
  t.after(() => proxy.stop());
  const storage = memory();
  const first = clientOf(t, { url: proxy.url }, 'bob', { storage });
  await first.connect();
  server.send('alice', { to: 'bob', body: 'before', client_msg_id: 'm1' });
  await until(() => first.bodies.length === 1, 'the first message');
  proxy.state.down = true;
  proxy.cut();
  first.send({ to: 'alice', body: 'unsent' }).catch(() => {});
  await first.disconnect();
  server.send('alice', { to: 'bob', body: 'meanwhile', client_msg_id: 'm2' });

  proxy.state.down = false;
  const second = clientOf(t, { url: proxy.url }, 'bob', { storage });
  const delivered = [];
  second.on('delivered', ({ seq }) => delivered.push(seq));
  await second.connect();
  await until(() => second.bodies.includes('unsent'), 'what was not sent');
  assert.deepEqual(second.bodies, ['meanwhile', 'unsent']);
  assert.equal(second.device, first.device);
  assert.deepEqual(delivered, [3]);
});

test('`forget` leaves nothing behind', async (t) => {
  const server = await serve(t);
  const storage = memory();
  const client = clientOf(t, server, 'bob', { storage });
  await client.connect();
  await client.send({ to: 'alice', body: 1 });
  await client.disconnect({ forget: true });
  assert.deepEqual([...storage.map.keys()], []);
});

test('a message that waited for a day is given up rather than sent twice', async (t) => {
  const server = await serve(t);
  const storage = memory();
  const first = clientOf(t, server, 'bob', { storage });
  await first.connect();
  await first.disconnect();
  const lost = first.send({ to: 'alice', body: 'old' });
  lost.catch(() => {});
  const key = [...storage.map.keys()].find((one) => one.endsWith(first.device));
  const kept = JSON.parse(storage.map.get(key));
  kept.outbox[0].time -= 24 * 3_600_000;
  storage.map.set(key, JSON.stringify(kept));
  const second = clientOf(t, server, 'bob', { storage });
  const rejected = [];
  second.on('rejected', ({ error }) => rejected.push(error.code));
  await second.connect();
  await until(() => rejected.length, 'the rejection');
  assert.deepEqual(rejected, ['expired']);
  assert.deepEqual(server.inbox('alice'), []);
});

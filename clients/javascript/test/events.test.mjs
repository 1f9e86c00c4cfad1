import assert from 'node:assert/strict';
import test from 'node:test';
import { clientOf, serve, until } from './support/client.mjs';

test('`events` gives frames in order, and what was not taken is not acknowledged', async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  const events = client.events();
  const welcome = events.next();
  await client.connect();
  assert.equal((await welcome).value.type, 'welcome');
  for (const body of [1, 2, 3]) server.send('alice', { to: 'bob', body, client_msg_id: `m${body}` });
  assert.equal((await events.next()).value.body, 1);
  assert.equal((await events.next()).value.body, 2);
  await until(() => client.bodies.length === 3, 'all at the listener');
  await until(() => server.acks.length, 'an acknowledgement');
  // The second was handed out and not yet left behind.
  assert.deepEqual(server.acks, ['1.f']);
  await events.return();
  await client.disconnect();
});

test('a listener that throws loses nothing for the others', async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  // It ends as an uncaught exception, which the test's runner would take for its own.
  const listeners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  t.after(() => listeners.forEach((listener) => process.on('uncaughtException', listener)));
  const thrown = new Promise((over) => process.once('uncaughtException', over));
  client.on('message', () => {
    throw new Error('the program is wrong');
  });
  const seen = [];
  client.on('message', ({ body }) => seen.push(body));
  await client.connect();
  server.send('alice', { to: 'bob', body: 1, client_msg_id: 'm' });
  assert.equal((await thrown).message, 'the program is wrong');
  await until(() => seen.length === 1, 'the message');
});

test('`on` returns the way to stop', async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server);
  await client.connect();
  const stop = client.on('typing', () => assert.fail('it was stopped'));
  stop();
  server.push('bob', { type: 'typing', conversation: 'alice~bob', user: 'alice' });
  server.send('alice', { to: 'bob', body: 1, client_msg_id: 'm' });
  await until(() => client.bodies.length === 1, 'the message');
});

test('every command has its resource', async (t) => {
  const server = await serve(t);
  const client = clientOf(t, server, 'bob', { transports: ['stream'] });
  await client.connect();
  server.seen.length = 0;
  await client.history('a~b', { before: 9, limit: 5 });
  await client.conversations({ limit: 3 });
  await client.createGroup('team', ['alice']);
  await client.members('g_1');
  await client.addMembers('g_1', ['carol']);
  await client.addMembers('g_1', ['dave'], 'reader');
  await client.setRole('g_1', 'dave', 'admin');
  await client.removeMember('g_1', 'carol');
  await client.rename('g_1', 'crew');
  await client.markRead('a~b', 4);
  await client.typing('a~b');
  await client.edit('a~b', 2, { text: 'x' });
  await client.recall('a~b', 2);
  await client.react('a~b', 2, '👍');
  await client.react('a~b', 2, '👍', false);
  await client.presence(['alice', 'carol']);
  await client.publish('c_news', 1, 'id');
  const device = `device=${client.device}`;
  assert.deepEqual(
    server.seen.map(({ method, path, query, body }) => [
      method,
      path + query.replace(new RegExp(`[?&]${device}`), ''),
      body || undefined,
    ]),
    [
      ['GET', '/v1/conversations/a~b/messages?before=9&limit=5', undefined],
      ['GET', '/v1/conversations?limit=3', undefined],
      ['POST', '/v1/conversations', { name: 'team', members: ['alice'] }],
      ['GET', '/v1/conversations/g_1/members', undefined],
      ['POST', '/v1/conversations/g_1/members', { members: ['carol'] }],
      ['POST', '/v1/conversations/g_1/members', { members: ['dave'], role: 'reader' }],
      ['PUT', '/v1/conversations/g_1/members/dave', { role: 'admin' }],
      ['DELETE', '/v1/conversations/g_1/members/carol', undefined],
      ['PUT', '/v1/conversations/g_1', { name: 'crew' }],
      ['POST', '/v1/conversations/a~b/read', { seq: 4 }],
      ['POST', '/v1/conversations/a~b/typing', {}],
      ['PUT', '/v1/conversations/a~b/messages/2', { body: { text: 'x' } }],
      ['DELETE', '/v1/conversations/a~b/messages/2', undefined],
      ['PUT', '/v1/conversations/a~b/messages/2/reactions/%F0%9F%91%8D', {}],
      ['DELETE', '/v1/conversations/a~b/messages/2/reactions/%F0%9F%91%8D', undefined],
      ['GET', '/v1/presence?users=alice%2Ccarol', undefined],
      ['POST', '/v1/channels/c_news/messages', { body: 1, client_msg_id: 'id' }],
    ],
  );
});

import assert from 'node:assert/strict';
import test from 'node:test';
import { Chat } from '../dist/chat.js';
import { clientOf, serve, until } from './support/client.mjs';
import { Server } from './support/server.mjs';

const ID = 'alice~bob';

/** Bob's chat, connected; `pages` are what the server answers to reads. */
async function chatOf(t, pages = {}) {
  const server = await serve(t);
  server.pages = {
    '/v1/conversations': { conversations: [] },
    [`/v1/conversations/${ID}/messages`]: { messages: [], more: false },
    [`/v1/conversations/${ID}/members`]: { members: [] },
    ...pages,
  };
  const client = clientOf(t, server, 'bob', { transports: ['stream'] });
  const chat = new Chat(client);
  await client.connect();
  await until(() => chat.snapshot().loaded, 'the list');
  return { server, client, chat, one: () => chat.conversation(ID) };
}

const message = (seq, more) => ({
  conversation: ID,
  seq,
  from: 'alice',
  time: seq,
  body: `m${seq}`,
  ...more,
});
const shown = (conversation) => conversation.messages.map(({ body }) => body);

test('the snapshot is the same until something changes', async (t) => {
  const { server, chat } = await chatOf(t);
  const before = chat.snapshot();
  assert.equal(chat.snapshot(), before);
  let told = 0;
  const stop = chat.subscribe(() => told++);
  server.send('alice', { to: 'bob', body: 1, client_msg_id: 'm' });
  await until(() => told, 'a change');
  assert.notEqual(chat.snapshot(), before);
  stop();
});

test('messages of others are unread until they are read', async (t) => {
  const { server, chat, one } = await chatOf(t);
  await chat.open(ID);
  for (const n of [1, 2]) server.send('alice', { to: 'bob', body: `m${n}`, client_msg_id: `${n}` });
  await until(() => one().unread === 2, 'two unread');
  assert.deepEqual(shown(one()), ['m1', 'm2']);
  await chat.read(ID);
  assert.equal(one().unread, 0);
  assert.deepEqual(server.seen.at(-1).body, { seq: 2 });
});

test('a hole is read from the log', async (t) => {
  const { server, chat, one } = await chatOf(t);
  server.pages[`/v1/conversations/${ID}/messages`] = { messages: [message(1)], more: false };
  await chat.open(ID);
  server.pages[`/v1/conversations/${ID}/messages`] = { messages: [message(2), message(3)], more: false };
  server.file('bob', { type: 'message', ...message(3) });
  await until(() => one().messages.length === 3, 'the hole to be filled');
  assert.deepEqual(shown(one()), ['m1', 'm2', 'm3']);
});

test('what comes while a conversation is opened stays', async (t) => {
  const { server, chat, one } = await chatOf(t);
  await chat.open(ID);
  const reading = chat.open(ID);
  server.file('bob', { type: 'message', ...message(1) });
  await reading;
  await until(() => one().messages.length === 1, 'the message');
  assert.deepEqual(shown(one()), ['m1']);
});

test('amendments change what is shown', async (t) => {
  const { server, chat, one } = await chatOf(t);
  await chat.open(ID);
  server.send('alice', { to: 'bob', body: 'm1', client_msg_id: '1' });
  server.send('alice', { to: 'bob', body: 'm2', client_msg_id: '2' });
  const place = { conversation: ID, by: 'alice', time: 9 };
  server.file('bob', { type: 'edited', ...place, seq: 1, body: 'better' });
  server.file('bob', {
    type: 'reaction',
    conversation: ID,
    seq: 1,
    user: 'bob',
    emoji: '👍',
    on: true,
    time: 9,
  });
  server.file('bob', { type: 'recalled', ...place, seq: 2 });
  await until(() => one()?.messages[1]?.recalled, 'the recall');
  const [first, second] = one().messages;
  assert.deepEqual([first.body, first.edited, first.reactions], ['better', 9, { '👍': ['bob'] }]);
  assert.equal('body' in second, false);
  assert.equal(one().unread, 1);
  assert.equal(one().last, second);
});

test('an own message is shown at once, and settled by its number', async (t) => {
  const { chat, one } = await chatOf(t);
  await chat.open(ID);
  const sent = chat.send(ID, 'mine');
  assert.deepEqual(
    one().pending.map(({ body, pending }) => [body, pending]),
    [['mine', true]],
  );
  await sent;
  await until(() => one().messages.length === 1, 'the message');
  assert.deepEqual([one().pending, shown(one()), one().unread], [[], ['mine'], 0]);
});

test('an own message that is refused says so, and can be tried again', async (t) => {
  const { server, chat, one } = await chatOf(t);
  await chat.open(ID);
  server.faults.push(() => {
    throw new Server.Refusal(403, 'forbidden');
  });
  await assert.rejects(chat.send(ID, 'mine'), { code: 'forbidden' });
  const [failed] = one().pending;
  assert.equal(failed.failed, 'refused: forbidden');
  await chat.retry(ID, failed.client_msg_id);
  await until(() => one().messages.length === 1, 'the message');
  assert.deepEqual(one().pending, []);
});

test('marks only rise, and an own `read` of another device counts here', async (t) => {
  const { server, chat, one } = await chatOf(t);
  await chat.open(ID);
  for (const n of [1, 2, 3]) server.send('alice', { to: 'bob', body: `m${n}`, client_msg_id: `${n}` });
  const receipt = (user, kind, seq) =>
    server.push('bob', { type: 'receipt', conversation: ID, user, kind, seq });
  receipt('alice', 'read', 3);
  receipt('alice', 'delivered', 1);
  receipt('bob', 'read', 2);
  await until(() => one()?.read === 2, 'the mark');
  assert.deepEqual(one().marks.alice, { delivered: 3, read: 3 });
  assert.equal(one().unread, 1);
});

test('after a reset the list and what is open are read again', async (t) => {
  const { server, chat, one } = await chatOf(t);
  await chat.open(ID);
  server.pages['/v1/conversations'] = {
    conversations: [{ conversation: ID, kind: 'direct', head_seq: 7, read_seq: 5, unread: 2 }],
  };
  server.pages[`/v1/conversations/${ID}/messages`] = { messages: [message(6), message(7)], more: true };
  server.push('bob', { type: 'reset', reason: 'trimmed', cursor: '0.f' });
  await until(() => one().messages.length === 2, 'the messages');
  assert.deepEqual([one().unread, one().head, one().more], [2, 7, true]);
});

test('who types stops when the message comes', async (t) => {
  const { server, chat } = await chatOf(t);
  await chat.open(ID);
  server.push('bob', { type: 'typing', conversation: ID, user: 'alice' });
  await until(() => chat.snapshot().typing[ID]?.length === 1, 'typing');
  server.send('alice', { to: 'bob', body: 1, client_msg_id: 'm' });
  await until(() => chat.snapshot().typing[ID].length === 0, 'no typing');
});

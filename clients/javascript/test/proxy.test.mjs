// The proxy of the tests, where it matters to them: what breaks behind it breaks before it.
import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { startProxy } from './support/proxy.mjs';

test('a server that breaks off in the middle of an answer breaks its client’s connection', async (t) => {
  const server = http.createServer((_, response) => {
    response.write('begun');
    setTimeout(() => response.destroy(), 50);
  });
  await new Promise((over) => server.listen(0, '127.0.0.1', over));
  const proxy = await startProxy([server.address().port]);
  t.after(() => Promise.all([proxy.stop(), new Promise((over) => server.close(over))]));
  const answer = await fetch(proxy.url);
  await assert.rejects(answer.text());
});

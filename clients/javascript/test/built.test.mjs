import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { gzipSync } from 'node:zlib';

const read = (path) => readFileSync(new URL(path, import.meta.url));

/** Bytes, gzipped: what a visitor's browser fetches. */
const MOST = 10 * 1024;

test('the classic script is small', (t) => {
  const size = gzipSync(read('../dist/switchboard.min.js'), { level: 9 }).length;
  t.diagnostic(`switchboard.min.js: ${size} bytes gzipped, ${MOST} at most`);
  assert.ok(size <= MOST, `${size} bytes gzipped`);
});

for (const [name, folder] of [
  ['page.js', 'build'],
  ['switchboard.min.js', 'dist'],
]) {
  test(`${name}, as gateways serve it, is built from this source`, () => {
    const committed = read(`../../../gateway/src/http/page/${name}`);
    assert.ok(
      committed.equals(read(`../${folder}/${name}`)),
      'run `npm run build:page` and commit the result',
    );
  });
}

for (const name of ['../README.md', '../../../README.md']) {
  test(`the quick start of ${name} is the example that is run`, () => {
    assert.ok(read(name).includes(read('../examples/browser.html')));
  });
}

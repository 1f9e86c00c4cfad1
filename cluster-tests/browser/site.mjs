// The page's files, and a server for them at an origin that is no gateway's.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { extname, join, normalize } from 'node:path';

const folder = fileURLToPath(new URL('page', import.meta.url));
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8' };

/** One file by its URL's path (`/page/client.js`); null if there is none. */
export async function file(path) {
  const [, name] = path.match(/^\/page\/(.*)$/) ?? [];
  if (name === undefined || normalize(name) !== name) return null;
  const body = await readFile(join(folder, name)).catch(() => null);
  return body && { contentType: types[extname(name)] ?? 'text/plain', body };
}

/** Serves them on a free port of the loopback; gives the port. */
export function serve() {
  const server = createServer(async (request, response) => {
    const found = await file(new URL(request.url, 'http://site').pathname);
    if (!found) return response.writeHead(404).end();
    return response.writeHead(200, { 'content-type': found.contentType }).end(found.body);
  });
  return new Promise((ready) => {
    server.listen(0, '127.0.0.1', () => ready(server.address().port));
  });
}

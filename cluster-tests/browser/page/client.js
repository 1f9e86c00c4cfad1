// A page that reads over one transport and lists each message's body. What the
// driver calls is `window.client`.

import poll from './transports/poll.js';
import iframe from './transports/iframe.js';
import iframePosting from './transports/iframe-posting.js';
import sse from './transports/sse.js';
import fetchStream from './transports/fetch-stream.js';
import xhrStream from './transports/xhr-stream.js';
import { webSocket, webSocketBinary } from './transports/websocket.js';

const transports = {
  sse,
  'fetch-stream': fetchStream,
  'xhr-stream': xhrStream,
  iframe,
  'iframe-posting': iframePosting,
  websocket: webSocket,
  'websocket-binary': webSocketBinary,
  poll,
};

// What the driver waits for: `node` of the newest welcome, `ends` of connections.
const state = { node: null, ends: [] };

function show(text) {
  const item = document.createElement('li');
  item.textContent = text;
  document.getElementById('shown').append(item);
}

// One page reads over one transport. `program`: it comes back by itself with
// the cursor of the last frame, as a client library would.
async function read({ transport, base, query, program }) {
  let cursor = query.cursor;
  const take = (frame) => {
    if (frame.type === 'welcome') state.node = frame.node;
    if (frame.cursor) cursor = frame.cursor;
    if (frame.type === 'message') show(JSON.stringify(frame.body));
  };
  const at = (path, more = {}) => {
    const fields = new URLSearchParams({ ...query, cursor, ...more });
    return `${base}${path}?${fields}`;
  };
  do {
    const end = await transports[transport]({ at, take, show, base }).catch((error) => error);
    state.ends.push(String(end));
    if (program) await new Promise((over) => setTimeout(over, 100));
  } while (program);
}

// A command with a token in a header: from another origin, with a preflight.
async function request({ url, method, headers, body }) {
  const response = await fetch(url, { method, headers, body });
  const text = await response.text();
  return { status: response.status, etag: response.headers.get('etag'), text };
}

window.client = { read, request, state };

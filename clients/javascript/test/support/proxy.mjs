// A reverse proxy that treats connections as bad networks and old proxies do.
import http from 'node:http';
import net from 'node:net';

/**
 * Starts it before `targets` (ports on loopback, used in turn). What it does can be changed at any time:
 * `upgrades`: 'pass', 'refuse' (answers 400), 'silent' (accepts and passes nothing), 'drop' (accepts, then
 * closes after 300 ms); `buffer`: answers are passed on when they have ended; `cutAfter`: milliseconds
 * after which each connection is cut; `down`: nothing is accepted; `files`: paths answered from here.
 */
export async function startProxy(targets, behaviour = {}) {
  const state = { upgrades: 'pass', buffer: false, cutAfter: 0, down: false, files: {}, ...behaviour };
  const sockets = new Set();
  let turn = 0;
  const target = () => targets[turn++ % targets.length];

  const server = http.createServer((request, response) => {
    const file = state.files[request.url.split('?')[0]];
    if (file) return void response.writeHead(200, file.headers).end(file.body());
    const port = target();
    const onward = http.request(
      { host: '127.0.0.1', port, path: request.url, method: request.method, headers: request.headers },
      (answer) => {
        // A server that breaks off in the middle breaks its client's connection, too.
        answer.on('error', () => response.destroy());
        response.writeHead(answer.statusCode, answer.headers);
        if (!state.buffer) {
          response.flushHeaders();
          return void answer.pipe(response);
        }
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('end', () => response.end(Buffer.concat(chunks)));
      },
    );
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });

  server.on('connection', (socket) => {
    if (state.down) return void socket.destroy();
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    if (state.cutAfter) setTimeout(() => socket.destroy(), state.cutAfter).unref();
  });

  server.on('upgrade', (request, socket, head) => {
    if (state.upgrades === 'refuse') {
      return void socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
    }
    const onward = net.connect(target(), '127.0.0.1', () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let n = 0; n < request.rawHeaders.length; n += 2) {
        lines.push(`${request.rawHeaders[n]}: ${request.rawHeaders[n + 1]}`);
      }
      onward.write(`${lines.join('\r\n')}\r\n\r\n`);
      onward.write(head);
    });
    const end = () => {
      socket.destroy();
      onward.destroy();
    };
    for (const one of [socket, onward]) one.on('error', end).on('close', end);
    if (state.upgrades === 'silent') {
      // The handshake passes, and nothing behind it.
      onward.once('data', (data) => socket.write(data.subarray(0, data.indexOf('\r\n\r\n') + 4)));
      return;
    }
    onward.pipe(socket);
    socket.pipe(onward);
    if (state.upgrades === 'drop') setTimeout(end, 300).unref();
  });

  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    state,
    targets,
    /** Cuts every connection that is open. */
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

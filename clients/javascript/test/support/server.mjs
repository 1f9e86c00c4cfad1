// A small server that speaks the protocol and fails in the ways that a test asks for.
// It keeps one inbox a user, knows `client_msg_id`, and carries WebSocket, stream and polls.
import http from 'node:http';
import { WebSocketServer } from 'ws';

/** A JWT that nobody signed; this server only looks at its claims. */
export function tokenOf(user, { life = 3600, ...more } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ sub: user, iat: now, exp: now + life, ...more })}.x`;
}

const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));

class Refusal extends Error {
  constructor(status, code, more = {}) {
    super(code);
    this.status = status;
    this.body = { code, message: `refused: ${code}`, ...more };
  }
}

export class Server {
  inboxes = new Map();
  heads = new Map();
  repeats = new Map();
  tickets = new Map();
  /** Open sessions: each takes frames. */
  sessions = new Set();
  /** What came, in its order. */
  seen = [];
  acks = [];
  /** Functions that the next sends go through, one each: may throw a Refusal, or say 'lose' (kept, not answered). */
  faults = [];
  /** WebSockets: 'pass', 'silent' (no welcome) or 'drop' (after the welcome). */
  sockets = 'pass';
  /** Streams hold everything back, as behind a proxy that buffers. */
  buffered = false;
  /** Tokens that are refused. */
  expired = new Set();
  waits = [];

  static Refusal = Refusal;

  async start(port = 0) {
    this.http = http.createServer((request, response) => void this.#answer(request, response));
    this.ws = new WebSocketServer({ noServer: true });
    this.http.on('upgrade', (request, socket, head) => {
      if (this.sockets === 'refuse') return void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
      this.ws.handleUpgrade(request, socket, head, (ws) => this.#socket(ws, request));
    });
    await new Promise((over) => this.http.listen(port, '127.0.0.1', over));
    this.port = this.http.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  async stop() {
    for (const session of this.sessions) session.end();
    for (const client of this.ws.clients) client.terminate();
    this.http.closeAllConnections();
    await new Promise((over) => this.http.close(over));
  }

  inbox(user) {
    if (!this.inboxes.has(user)) this.inboxes.set(user, []);
    return this.inboxes.get(user);
  }

  /** Puts an event into a user's inbox and pushes it. */
  file(user, event) {
    const inbox = this.inbox(user);
    const frame = { ...event, cursor: `${inbox.length + 1}.f` };
    inbox.push(frame);
    for (const session of this.sessions) if (session.user === user) session.push(frame);
    return frame;
  }

  push(user, frame) {
    for (const session of this.sessions) if (session.user === user) session.push(frame);
  }

  send(user, { to, conversation, body, client_msg_id }) {
    this.seen.push({ user, body, client_msg_id });
    const fault = this.faults.shift()?.();
    const id = conversation ?? [user, to].sort().join('~');
    const key = `${user} ${id} ${client_msg_id}`;
    const known = this.repeats.get(key);
    if (known) return { ...known, duplicate: true };
    const seq = (this.heads.get(id) ?? 0) + 1;
    this.heads.set(id, seq);
    const sent = { conversation: id, seq, time: Date.now() };
    this.repeats.set(key, sent);
    for (const member of new Set(id.split('~'))) {
      this.file(member, { type: 'message', ...sent, from: user, body, client_msg_id });
    }
    if (fault === 'lose') throw new Refusal(503, 'unavailable', { retry_after_ms: 10 });
    return sent;
  }

  #user(url, headers) {
    const bearer = headers.authorization?.replace('Bearer ', '');
    const ticket = url.searchParams.get('ticket');
    const token = bearer ?? this.tickets.get(ticket);
    this.tickets.delete(ticket);
    if (!token || this.expired.has(token)) throw new Refusal(401, 'unauthorized');
    return { user: claimsOf(token).sub, token };
  }

  #welcome(user, url, resumed) {
    const cursor = url.searchParams.get('cursor') || `${this.inbox(user).length}.f`;
    const device = url.searchParams.get('device') ?? 'd';
    return {
      type: 'welcome',
      user,
      device,
      session: 's',
      node: 'test',
      cursor: cursor === 'start' ? '0.f' : cursor,
      resumed,
      heartbeat_ms: 25_000,
      max_body_bytes: 65_536,
    };
  }

  #after(user, cursor) {
    const place = cursor === 'start' ? 0 : Number.parseInt(cursor, 10);
    return this.inbox(user).slice(place);
  }

  #begin(user, url, push, end) {
    const given = url.searchParams.get('cursor');
    const welcome = this.#welcome(user, url, !!given);
    push(welcome);
    for (const frame of this.#after(user, welcome.cursor)) push(frame);
    const session = {
      user,
      push,
      device: welcome.device,
      end: () => {
        this.sessions.delete(session);
        end();
      },
    };
    this.sessions.add(session);
    return () => this.sessions.delete(session);
  }

  #socket(ws, request) {
    const url = new URL(request.url, this.url);
    let user;
    try {
      ({ user } = this.#user(url, request.headers));
    } catch {
      return ws.close(1008);
    }
    if (this.sockets === 'silent') return;
    const push = (frame) => ws.send(JSON.stringify(frame));
    const end = this.#begin(user, url, push, () => ws.close(1012));
    ws.on('close', end);
    if (this.sockets === 'drop') setTimeout(() => ws.terminate(), 50);
    ws.on('message', (data) => {
      const { ref, type, ...fields } = JSON.parse(data);
      try {
        push({ ...this.#command(user, type, fields), ref });
      } catch (refusal) {
        push({ type: 'error', ref, ...refusal.body });
      }
    });
  }

  #command(user, type, fields) {
    if (type === 'send') return { type: 'sent', ...this.send(user, fields) };
    if (type === 'ping') return { type: 'pong' };
    if (type === 'ack') this.acks.push(fields.cursor);
    else this.seen.push({ user, type, ...fields });
    return { type: 'ok' };
  }

  async #answer(request, response) {
    const url = new URL(request.url, this.url);
    try {
      const body = await new Response(request).text();
      const { user, token } = this.#user(url, request.headers);
      const answer = await this.#resource(request, response, url, user, token, body && JSON.parse(body));
      if (answer) response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
    } catch (refusal) {
      if (!refusal.status) throw refusal;
      response.writeHead(refusal.status).end(JSON.stringify(refusal.body));
    }
  }

  #resource(request, response, url, user, token, body) {
    switch (url.pathname) {
      case '/v1/tickets': {
        const ticket = `t${this.tickets.size}${Math.random()}`;
        this.tickets.set(ticket, token);
        return { ticket, expires_in: 30 };
      }
      case '/v1/messages':
        return this.send(user, body);
      case '/v1/ack':
        this.acks.push(body.cursor);
        return {};
      case '/v1/stream': {
        if (this.buffered) return undefined;
        response.writeHead(200, { 'content-type': 'application/x-ndjson' });
        const push = (frame) => response.write(`${JSON.stringify(frame)}\n`);
        response.on(
          'close',
          this.#begin(user, url, push, () => response.end()),
        );
        return undefined;
      }
      case '/v1/poll':
        return this.#poll(response, url, user);
      default:
        this.seen.push({ user, method: request.method, path: url.pathname, query: url.search, body });
        return this.pages?.[url.pathname] ?? {};
    }
  }

  async #poll(response, url, user) {
    const cursor = url.searchParams.get('cursor') || `${this.inbox(user).length}.f`;
    const wait = Number(url.searchParams.get('wait') ?? 25);
    this.waits.push(wait);
    const answer = () => {
      const events = this.#after(user, cursor);
      return { events, cursor: events.at(-1)?.cursor ?? (cursor === 'start' ? '0.f' : cursor) };
    };
    if (!wait || answer().events.length) return answer();
    return new Promise((over) => {
      const pushed = [];
      const session = {
        user,
        push: (frame) => {
          if (!frame.cursor) pushed.push(frame);
          end();
        },
        end: () => response.destroy(),
      };
      const end = () => {
        clearTimeout(timer);
        this.sessions.delete(session);
        const { events, cursor: next } = answer();
        over({ events: [...events, ...pushed], cursor: next });
      };
      const timer = setTimeout(end, wait * 1000);
      response.on('close', () => {
        clearTimeout(timer);
        this.sessions.delete(session);
      });
      this.sessions.add(session);
    });
  }
}

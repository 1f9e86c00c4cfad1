/**
 * The state of a chat window, kept up to date by a client: conversations with their unread counts; messages in order,
 * with edits, recalls and reactions applied; own messages shown at once; holes filled from the log. `subscribe` and
 * `snapshot` have the shape that React's `useSyncExternalStore` expects; other programs can use them, too.
 */

import type { Switchboard } from '../client.js';
import type { State } from '../connector.js';
import { SwitchboardError, asError } from '../error.js';
import type { Json, Presence } from '../frames.js';
import type { Entry } from '../outbox.js';
import * as conversations from './conversation.js';
import type { Conversation } from './conversation.js';

/** The whole state at one moment; a new object whenever something has changed. */
export interface Snapshot {
  readonly state: State;
  readonly user: string;
  /** Why there is no connection. */
  readonly error: SwitchboardError | undefined;
  /** Sorted by activity, the newest first. */
  readonly conversations: readonly Conversation[];
  /** The users who are typing, by conversation. */
  readonly typing: Readonly<Record<string, readonly string[]>>;
  /** The presence of the users given to `watch`. */
  readonly presence: Readonly<Record<string, Presence>>;
  /** Whether the list of conversations has been read. */
  readonly loaded: boolean;
}

/** How many messages are read at a time. */
const PAGE = 50;
/** How many conversations are read at a time, and at most at the beginning. */
const LISTED = 100;
const LISTS = 5;
/** Milliseconds after the last `typing` frame until a user counts as no longer typing. */
const TYPES = 4_000;
/** The least milliseconds between two `typing` commands of this user. */
const SAY_TYPING = 2_000;

export class Chat {
  readonly #client: Switchboard;
  readonly #listeners = new Set<() => void>();
  readonly #byId = new Map<string, Conversation>();
  readonly #opened = new Set<string>();
  readonly #filling = new Set<string>();
  readonly #stops: (() => void)[] = [];
  readonly #typed = new Map<string, number>();
  readonly #watched = new Set<string>();
  #typing: Record<string, string[]> = {};
  #presence: Record<string, Presence> = {};
  #loaded = false;
  #loading: Promise<void> | undefined;
  #snapshot: Snapshot | undefined;

  constructor(client: Switchboard) {
    this.#client = client;
    const user = () => client.user;
    const on: Switchboard['on'] = (type, listener) => {
      const stop = client.on(type, listener);
      this.#stops.push(stop);
      return stop;
    };
    on('state', ({ state }) => {
      if (state === 'connected') {
        if (!this.#loaded) this.#load().catch(() => {});
        if (this.#watched.size) void this.watch([...this.#watched]);
      }
      this.#changed();
    });
    on('message', (frame) => {
      const { type: _, cursor: __, ...message } = frame;
      this.#stopsTyping(message.conversation, message.from);
      this.#arrive(message);
    });
    on('edited', ({ conversation, seq, body, time }) =>
      this.#amend(conversation, seq, (message) => ({ ...message, body, edited: time })),
    );
    on('recalled', ({ conversation, seq, time }) =>
      this.#update(conversation, (old) =>
        conversations.amended(
          old,
          seq,
          ({ body: _, ...message }) => ({ ...message, recalled: time }),
          user(),
        ),
      ),
    );
    on('reaction', (frame) =>
      this.#amend(frame.conversation, frame.seq, (message) => conversations.reacted(message, frame)),
    );
    on('receipt', (frame) =>
      this.#update(frame.conversation, (old) => conversations.receipted(old, frame, user())),
    );
    on('conversation', (frame) =>
      this.#update(frame.conversation, (old) => conversations.changed(old, frame, user())),
    );
    on('typing', ({ conversation, user }) => this.#types(conversation, user));
    on('presence', ({ user, online, last_seen }) => {
      const presence = last_seen === undefined ? { user, online } : { user, online, last_seen };
      this.#presence = { ...this.#presence, [user]: presence };
      this.#changed();
    });
    on('reset', () => void this.#reload());
    on('outbox', (entries) => entries.forEach((entry) => this.#await(entry)));
    on('rejected', ({ entry, error }) =>
      this.#update(this.#idOf(entry), (old) => conversations.refused(old, entry, user(), error.message)),
    );
    on('delivered', ({ conversation, client_msg_id, seq, time }) => {
      // The message itself may come a little later: it is shown meanwhile.
      const pending = this.#byId
        .get(conversation)
        ?.pending.find((one) => one.client_msg_id === client_msg_id);
      if (!pending) return;
      const { pending: _, failed: __, ...message } = pending;
      this.#arrive({ ...message, conversation, seq, time });
    });
    client.outbox.forEach((entry) => this.#await(entry));
    if (client.state === 'connected') this.#load().catch(() => {});
  }

  /** Calls `listener` after each change. Returns a function that ends this. */
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** The present state; the same object until something changes. */
  snapshot = (): Snapshot => {
    this.#snapshot ??= {
      state: this.#client.state,
      user: this.#client.user,
      error: this.#client.error,
      conversations: [...this.#byId.values()].sort((a, b) => b.time - a.time),
      typing: this.#typing,
      presence: this.#presence,
      loaded: this.#loaded,
    };
    return this.#snapshot;
  };

  conversation(id: string): Conversation | undefined {
    return this.#byId.get(id);
  }

  /** Reads the newest messages of a conversation, and its members. */
  async open(id: string): Promise<void> {
    this.#update(id, (old) => old);
    const [page, list] = await Promise.all([
      this.#client.history(id, { limit: PAGE }).catch(missing({ messages: [], more: false })),
      this.#client.members(id).catch(missing({ members: [] })),
    ]);
    this.#update(id, (old) => {
      const next = conversations.opened(old, page.messages, page.more);
      const marks = Object.fromEntries(
        list.members.map((one) => [one.user, { delivered: one.delivered_seq, read: one.read_seq }]),
      );
      const members = list.members.length ? list.members.map(({ user }) => user) : old.members;
      const owner = 'owner' in list ? list.owner : old.owner;
      return { ...next, marks: { ...next.marks, ...marks }, members, owner };
    });
    this.#opened.add(id);
    this.#fillHole(id);
  }

  /** Reads the messages before the oldest one that is loaded. */
  async older(id: string): Promise<void> {
    const before = this.#byId.get(id)?.messages[0]?.seq;
    if (before === undefined || !this.#byId.get(id)?.more) return;
    const page = await this.#client.history(id, { before, limit: PAGE });
    this.#update(id, (old) => conversations.merged(old, page.messages, page.more));
  }

  /** Sends a message to a conversation, and shows it at once. */
  send(id: string, body: Json): Promise<unknown> {
    const other = id.includes('~') && id.split('~').find((user) => user !== this.#client.user);
    const to = other ? { to: other } : { conversation: id };
    return this.#client.send({ ...to, body });
  }

  /** Sends a message again that could not be sent. */
  retry(id: string, client_msg_id: string): Promise<unknown> | undefined {
    const failed = this.#byId.get(id)?.pending.find((one) => one.client_msg_id === client_msg_id);
    if (!failed) return undefined;
    this.discard(id, client_msg_id);
    return this.send(id, failed.body!);
  }

  /** Removes a message that could not be sent. */
  discard(id: string, client_msg_id: string): void {
    this.#update(id, (old) => conversations.settled(old, client_msg_id));
  }

  /** Says that everything in the conversation has been read. */
  async read(id: string): Promise<void> {
    const old = this.#byId.get(id);
    if (!old || old.left || old.head <= old.read) return;
    const { user } = this.#client;
    const receipt = { conversation: id, user, kind: 'read', seq: old.head } as const;
    this.#update(id, (now) => conversations.receipted(now, receipt, user));
    try {
      await this.#client.markRead(id, receipt.seq);
    } catch (thrown) {
      // The next message sends it again; the mark only rises.
      this.#update(id, (now) => ({ ...now, read: Math.min(now.read, old.read), unread: old.unread }));
      throw thrown;
    }
  }

  /** Tells the others that this user is typing; call it at each key, it limits itself. */
  typing(id: string): void {
    if (Date.now() - (this.#typed.get(id) ?? 0) < SAY_TYPING) return;
    this.#typed.set(id, Date.now());
    this.#client.typing(id).catch(() => {});
  }

  /** Asks who is online, and follows changes where the transport brings them. */
  async watch(users: string[]): Promise<void> {
    users.forEach((user) => this.#watched.add(user));
    const list = await this.#client.presence(users, { watch: true }).catch(() => []);
    this.#presence = { ...this.#presence, ...Object.fromEntries(list.map((one) => [one.user, one])) };
    this.#changed();
  }

  /** Makes a group and opens it. */
  async createGroup(name: string, members: string[]): Promise<string> {
    const { conversation } = await this.#client.createGroup(name, members);
    await this.open(conversation);
    this.#update(conversation, (old) => ({ ...old, name: old.name || name, time: old.time || Date.now() }));
    return conversation;
  }

  /** Stops listening to the client. */
  close(): void {
    this.#stops.forEach((stop) => stop());
  }

  #idOf(entry: Entry): string {
    return entry.conversation ?? this.#client.direct(entry.to!);
  }

  #await(entry: Entry): void {
    this.#update(this.#idOf(entry), (old) => conversations.awaited(old, entry, this.#client.user));
  }

  #arrive(message: conversations.Shown): void {
    const id = message.conversation;
    this.#update(id, (old) => conversations.arrived(old, message, this.#client.user));
    this.#fillHole(id);
  }

  #amend(id: string, seq: number, amend: (message: conversations.Shown) => conversations.Shown): void {
    this.#update(id, (old) => conversations.amended(old, seq, amend));
  }

  #update(id: string, change: (old: Conversation) => Conversation): void {
    const known = this.#byId.get(id);
    const next = change(known ?? conversations.created(id, this.#client.user));
    if (next === known) return;
    this.#byId.set(id, next);
    this.#changed();
  }

  #changed(): void {
    this.#snapshot = undefined;
    this.#listeners.forEach((listener) => listener());
  }

  #load(): Promise<void> {
    this.#loading ??= this.#list().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  async #list(): Promise<void> {
    let page: string | undefined;
    for (let n = 0; n < LISTS; n++) {
      const range = page === undefined ? { limit: LISTED } : { limit: LISTED, page };
      const list = await this.#client.conversations(range);
      for (const summary of list.conversations) {
        this.#update(summary.conversation, (old) => conversations.summarized(old, summary));
      }
      page = list.page;
      if (page === undefined) break;
    }
    this.#loaded = true;
    this.#changed();
  }

  /** After a `reset`: reads again everything that is shown. */
  async #reload(): Promise<void> {
    await this.#load().catch(() => {});
    await Promise.all([...this.#opened].map((id) => this.open(id).catch(() => {})));
  }

  #fillHole(id: string): void {
    if (this.#opened.has(id) && conversations.hasHole(this.#byId.get(id)!)) void this.#fill(id);
  }

  /** Reads the messages that are missing after the newest one loaded. */
  async #fill(id: string): Promise<void> {
    if (this.#filling.has(id)) return;
    this.#filling.add(id);
    try {
      for (let more = true; more;) {
        const after = this.#byId.get(id)?.messages.at(-1)?.seq ?? 0;
        const page = await this.#client.history(id, { after, limit: 200 });
        this.#update(id, (old) => conversations.merged(old, page.messages));
        more = page.more && page.messages.length > 0;
      }
    } catch (thrown) {
      const error = asError(thrown);
      if (error.temporary) setTimeout(() => void this.#fill(id), error.retryAfterMs ?? 2_000);
    } finally {
      this.#filling.delete(id);
    }
  }

  #types(id: string, user: string): void {
    const users = this.#typing[id] ?? [];
    if (!users.includes(user)) {
      this.#typing = { ...this.#typing, [id]: [...users, user] };
      this.#changed();
    }
    const key = `${id} ${user}`;
    const said = Date.now();
    this.#typed.set(key, said);
    setTimeout(() => this.#typed.get(key) === said && this.#stopsTyping(id, user), TYPES);
  }

  #stopsTyping(id: string, user: string): void {
    const users = this.#typing[id];
    if (!users?.includes(user)) return;
    this.#typing = { ...this.#typing, [id]: users.filter((other) => other !== user) };
    this.#changed();
  }
}

/** A direct conversation does not exist before its first message: then the answer `not_found` counts as empty. */
function missing<T>(empty: T): (thrown: unknown) => T {
  return (thrown) => {
    if (asError(thrown).code === 'not_found') return empty;
    throw thrown;
  };
}

/**
 * One conversation as a program shows it, and how each frame changes it. These functions are pure: each returns a new
 * value.
 */

import type { Frames, Json, Message, Summary } from '../frames.js';
import type { Entry } from '../outbox.js';

/** A message as it is shown. */
export interface Shown extends Message {
  /** True while the server does not have it yet; `seq` is 0 then. */
  pending?: boolean;
  /** The reason why it could not be sent. */
  failed?: string;
}

/** How far a member has received and read. */
export interface Marks {
  delivered: number;
  read: number;
}

export interface Conversation {
  readonly id: string;
  readonly kind: 'direct' | 'group';
  /** The group's name, or the other user of a direct conversation. */
  readonly name: string;
  /** The newest `seq` of the conversation. */
  readonly head: number;
  /** The `seq` up to which this user has read. */
  readonly read: number;
  readonly unread: number;
  readonly last: Shown | undefined;
  /** When something last happened, Unix milliseconds. */
  readonly time: number;
  /** A part of the log without holes, oldest first; empty until `open` is called. */
  readonly messages: readonly Shown[];
  /** Whether there are older messages to read. */
  readonly more: boolean;
  /** Own messages that are on their way, or could not be sent. */
  readonly pending: readonly Shown[];
  readonly marks: Readonly<Record<string, Marks>>;
  /** The members; known after `open`, or when the group has changed. */
  readonly members: readonly string[];
  readonly owner: string | undefined;
  /** True when this user is no longer a member. */
  readonly left: boolean;
}

const peerOf = (id: string, me: string): string => id.split('~').find((user) => user !== me) ?? me;

export function created(id: string, me: string): Conversation {
  const direct = !id.startsWith('g_') || id.includes('~');
  return {
    id,
    kind: direct ? 'direct' : 'group',
    name: direct ? peerOf(id, me) : '',
    head: 0,
    read: 0,
    unread: 0,
    last: undefined,
    time: 0,
    messages: [],
    more: true,
    pending: [],
    marks: {},
    members: direct ? id.split('~') : [],
    owner: undefined,
    left: false,
  };
}

/** Applies a summary from the server's list. */
export function summarized(old: Conversation, summary: Summary): Conversation {
  const peer = old.kind === 'direct' && {
    [old.name]: { delivered: summary.peer_delivered_seq ?? 0, read: summary.peer_read_seq ?? 0 },
  };
  return {
    ...old,
    name: old.kind === 'direct' ? old.name : (summary.name ?? ''),
    head: summary.head_seq,
    read: summary.read_seq,
    unread: summary.unread,
    last: summary.last_message ?? old.last,
    time: summary.last_message?.time ?? old.time,
    marks: { ...old.marks, ...peer },
    left: false,
  };
}

/** Applies a new message. If messages before it are missing, there is a hole ([`hasHole`]). */
export function arrived(old: Conversation, message: Shown, me: string): Conversation {
  const known = old.messages.at(-1)?.seq;
  const settledOld = settled(old, message.client_msg_id);
  if (message.seq <= old.head) return known === undefined ? settledOld : merged(settledOld, [message]);
  const follows = known === undefined ? !old.more : message.seq === known + 1;
  const own = message.from === me;
  return {
    ...settledOld,
    head: message.seq,
    // Who sends has read everything before.
    read: own ? message.seq : old.read,
    unread: own ? 0 : old.unread + 1,
    last: message,
    time: message.time,
    messages: follows ? [...old.messages, message] : old.messages,
    marks: marked(old.marks, message.from, { delivered: message.seq, read: message.seq }),
  };
}

/** Whether messages are missing between the last one loaded and the newest; only for a conversation that was opened. */
export function hasHole({ messages, head }: Conversation): boolean {
  return (messages.at(-1)?.seq ?? 0) < head;
}

/** Inserts messages from the log; one that is there already is replaced. */
export function merged(old: Conversation, messages: readonly Shown[], more = old.more): Conversation {
  const bySeq = new Map([...old.messages, ...messages].map((message) => [message.seq, message]));
  const all = [...bySeq.values()].sort((a, b) => a.seq - b.seq);
  const newest = all.at(-1);
  const ahead = newest && newest.seq >= old.head;
  return {
    ...old,
    messages: all,
    more,
    ...(ahead && { head: newest.seq, last: newest, time: newest.time }),
  };
}

/** Replaces the messages by the newest page of the log; those that came while it was read stay. */
export function opened(old: Conversation, page: readonly Shown[], more: boolean): Conversation {
  const newest = page.at(-1)?.seq ?? 0;
  const since = old.messages.filter(({ seq }) => seq > newest);
  const follows = since[0]?.seq === newest + 1;
  return merged({ ...old, messages: follows ? since : [] }, page, more);
}

/** Applies an amendment of a message. */
export function amended(
  old: Conversation,
  seq: number,
  amend: (message: Shown) => Shown,
  me?: string,
): Conversation {
  const was =
    old.messages.find((message) => message.seq === seq) ?? (old.last?.seq === seq ? old.last : undefined);
  if (!was) return old;
  const is = amend(was);
  const next = {
    ...old,
    messages: old.messages.map((message) => (message === was ? is : message)),
    last: old.last?.seq === seq ? is : old.last,
  };
  // A recalled message no longer counts as unread.
  const less = me !== undefined && seq > old.read && was.from !== me && !was.recalled;
  return less ? { ...next, unread: Math.max(0, old.unread - 1) } : next;
}

export function reacted(message: Shown, { user, emoji, on }: Frames['reaction']): Shown {
  const { [emoji]: users = [], ...others } = message.reactions ?? {};
  const rest = users.filter((other) => other !== user);
  if (on) rest.push(user);
  return { ...message, reactions: rest.length ? { ...others, [emoji]: rest } : others };
}

/** Applies a receipt; marks only rise. */
export function receipted(old: Conversation, receipt: Frames['receipt'], me: string): Conversation {
  const { user, kind, seq } = receipt;
  const marks = marked(old.marks, user, { [kind]: seq, ...(kind === 'read' && { delivered: seq }) });
  const next = { ...old, marks };
  if (user !== me || kind !== 'read' || seq <= old.read) return next;
  const behind = old.messages.filter((m) => m.seq > seq && m.from !== me && !m.recalled).length;
  return { ...next, read: seq, unread: seq >= old.head ? 0 : Math.min(old.unread, behind) };
}

function marked(marks: Conversation['marks'], user: string, to: Partial<Marks>): Conversation['marks'] {
  const { delivered, read } = marks[user] ?? { delivered: 0, read: 0 };
  const mark = { delivered: Math.max(delivered, to.delivered ?? 0), read: Math.max(read, to.read ?? 0) };
  return { ...marks, [user]: mark };
}

/** Applies a change of a group. */
export function changed(old: Conversation, frame: Frames['conversation'], me: string): Conversation {
  const { change, user, name, time } = frame;
  const base = { ...old, time: Math.max(old.time, time) };
  if (change === 'renamed') return { ...base, name: name ?? '' };
  if (change === 'role_changed') return base;
  if (change === 'owner_changed') return { ...base, owner: user };
  if (change === 'member_removed') {
    return { ...base, members: old.members.filter((one) => one !== user), left: old.left || user === me };
  }
  const owner = change === 'created' ? frame.by : old.owner;
  return { ...base, name: name ?? old.name, members: frame.members ?? old.members, owner, left: false };
}

/** Adds an own message that waits to be sent. */
export function awaited(old: Conversation, entry: Entry, me: string): Conversation {
  if (old.pending.some((one) => one.client_msg_id === entry.client_msg_id && !one.failed)) return old;
  const shown: Shown = { ...pendingOf(entry, me, old.id), pending: true };
  return {
    ...settled(old, entry.client_msg_id),
    pending: [...settled(old, entry.client_msg_id).pending, shown],
  };
}

/** Marks an own message as not sent. */
export function refused(old: Conversation, entry: Entry, me: string, why: string): Conversation {
  const rest = settled(old, entry.client_msg_id);
  return { ...rest, pending: [...rest.pending, { ...pendingOf(entry, me, old.id), failed: why }] };
}

/** Removes an own message from those that wait. */
export function settled(old: Conversation, client_msg_id: string | undefined): Conversation {
  if (!old.pending.some((one) => one.client_msg_id === client_msg_id)) return old;
  return { ...old, pending: old.pending.filter((one) => one.client_msg_id !== client_msg_id) };
}

function pendingOf(entry: Entry, me: string, conversation: string): Shown {
  const { body, client_msg_id, time } = entry;
  return { conversation, seq: 0, from: me, time, body: body as Json, client_msg_id };
}

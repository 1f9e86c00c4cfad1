/**
 * The types of PROTOCOL.md: frames (from the server) and commands (from the client). Only types and the list of
 * names.
 */

/** A message's body, and other values that programs choose: any JSON. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** A message as the server keeps it. */
export interface Message {
  conversation: string;
  /** Its number in the conversation: 1, 2, 3 … without holes. */
  seq: number;
  from: string;
  /** Unix milliseconds. */
  time: number;
  /** Absent when the message was recalled. */
  body?: Json;
  client_msg_id?: string;
  /** In `history` and `last_message`: when it was last edited, Unix milliseconds. */
  edited?: number;
  /** In `history` and `last_message`: when it was recalled, Unix milliseconds. */
  recalled?: number;
  /** In `history` and `last_message`: users by emoji. */
  reactions?: Record<string, string[]>;
}

/** Frames of inbox events have a cursor. */
export interface Placed {
  cursor?: string;
}

/** Why a connection is over, and what to do. */
export type GoawayReason = 'shutdown' | 'replaced' | 'token_expired' | 'kicked' | 'revoked';

/** Every frame from the server, by its `type`. */
export interface Frames {
  welcome: {
    user: string;
    device: string;
    session: string;
    node: string;
    cursor: string;
    resumed: boolean;
    heartbeat_ms: number;
    max_body_bytes: number;
  };
  message: Message & Placed;
  receipt: { conversation: string; user: string; kind: 'delivered' | 'read'; seq: number };
  conversation: Placed & {
    conversation: string;
    change: 'created' | 'renamed' | 'members_added' | 'member_removed' | 'owner_changed' | 'role_changed';
    by: string;
    time: number;
    name?: string;
    members?: string[];
    user?: string;
    role?: Role;
  };
  edited: Placed & { conversation: string; seq: number; body: Json; time: number; by: string };
  recalled: Placed & { conversation: string; seq: number; time: number; by: string };
  reaction: Placed & {
    conversation: string;
    seq: number;
    user: string;
    emoji: string;
    on: boolean;
    time: number;
  };
  publication: Placed & { channel: string; seq: number; from: string; time: number; body: Json };
  /** A part of a channel's log is gone, or was replaced: read on after `seq`. */
  channel_reset: Placed & { channel: string; seq: number; reason: string };
  typing: { conversation: string; user: string };
  presence: { user: string; online: boolean; last_seen?: number };
  sent: Placed & {
    ref?: number;
    conversation?: string;
    channel?: string;
    seq: number;
    time: number;
    duplicate?: boolean;
  };
  ok: { ref?: number };
  error: { code: string; message: string; ref?: number; retry_after_ms?: number };
  reset: { reason: 'trimmed' | 'rewritten' | 'behind'; cursor: string };
  goaway: { reason: GoawayReason; reconnect_in_ms?: number };
  pong: { ref?: number };
}

export type FrameType = keyof Frames;

/** A frame of one type, or of any. */
export type Frame<T extends FrameType = FrameType> = { [K in T]: { type: K } & Frames[K] }[T];

/** The frames that a server pushes. EventSource needs each name to listen to. */
export const PUSHED: FrameType[] = [
  'welcome',
  'message',
  'receipt',
  'conversation',
  'edited',
  'recalled',
  'reaction',
  'publication',
  'channel_reset',
  'typing',
  'presence',
  'reset',
  'goaway',
];

/** A command: its type and its fields. */
export type Command = { type: string } & Record<string, unknown>;

/** Where a message goes: to a user, or to a conversation that exists. */
export type Recipient = { to: string } | { conversation: string };

/** The answer to a `send`. */
export interface Sent {
  conversation: string;
  seq: number;
  /** Unix milliseconds. */
  time: number;
  /** True: an earlier attempt was already kept. */
  duplicate?: boolean;
}

/** A conversation as `conversations` lists it. */
export interface Summary {
  conversation: string;
  kind: 'direct' | 'group';
  name?: string;
  head_seq: number;
  read_seq: number;
  unread: number;
  last_message?: Message;
  peer_delivered_seq?: number;
  peer_read_seq?: number;
}

/** What a member of a group may do. */
export type Role = 'owner' | 'admin' | 'member' | 'reader';

/** A member as `members` lists it. */
export interface Member {
  user: string;
  since: number;
  delivered_seq: number;
  read_seq: number;
  /** In groups. */
  role?: Role;
}

/** Whether a user is online, or when it last was (Unix milliseconds). */
export interface Presence {
  user: string;
  online: boolean;
  last_seen?: number;
}

/** The commands of PROTOCOL.md §5 as methods. They need only `command`, a way to ask. */

import type { Command, Json, Member, Message, Presence, Role, Summary } from './frames.js';
import { randomId } from './storage.js';

export abstract class Vocabulary {
  /** The user of the token. */
  abstract get user(): string;

  /** Whether the connection takes commands, so that the server can tell this session of changes. */
  protected abstract get twoWay(): boolean;

  /** Sends any command of the protocol; resolves to the answer without `type` and `ref`. */
  abstract command<A = Record<string, unknown>>(command: Command): Promise<A>;

  /** Messages of a conversation in the order of `seq`: the newest, or those next to a `seq`. */
  history(
    conversation: string,
    range: { before?: number; after?: number; limit?: number } = {},
  ): Promise<{ messages: Message[]; more: boolean }> {
    return this.command({ type: 'history', conversation, ...range });
  }

  /** Conversations, newest activity first; give `page` of the last answer to go on. */
  conversations(
    range: { limit?: number; page?: string } = {},
  ): Promise<{ conversations: Summary[]; page?: string }> {
    return this.command({ type: 'conversations', ...range });
  }

  /** Makes a group; the answer's `conversation` is its id. As `reader` its members do not write. */
  createGroup(
    name: string,
    members: string[],
    role?: 'member' | 'reader',
  ): Promise<{ conversation: string }> {
    return this.command({ type: 'create_group', name, members, ...(role && { role }) });
  }

  members(conversation: string): Promise<{ owner?: string; members: Member[] }> {
    return this.command({ type: 'members', conversation });
  }

  addMembers(conversation: string, members: string[], role?: 'member' | 'reader'): Promise<void> {
    return this.command({ type: 'add_members', conversation, members, ...(role && { role }) });
  }

  /** Gives a member of a group another role; who gives `owner` is an admin then. */
  setRole(conversation: string, user: string, role: Role): Promise<void> {
    return this.command({ type: 'set_role', conversation, user, role });
  }

  removeMember(conversation: string, user: string): Promise<void> {
    return this.command({ type: 'remove_member', conversation, user });
  }

  leave(conversation: string): Promise<void> {
    return this.removeMember(conversation, this.user);
  }

  rename(conversation: string, name: string): Promise<void> {
    return this.command({ type: 'rename', conversation, name });
  }

  /** Says that everything up to `seq` was read. */
  markRead(conversation: string, seq: number): Promise<void> {
    return this.command({ type: 'read', conversation, seq });
  }

  typing(conversation: string): Promise<void> {
    return this.command({ type: 'typing', conversation });
  }

  edit(conversation: string, seq: number, body: Json): Promise<void> {
    return this.command({ type: 'edit', conversation, seq, body });
  }

  recall(conversation: string, seq: number): Promise<void> {
    return this.command({ type: 'recall', conversation, seq });
  }

  react(conversation: string, seq: number, emoji: string, on = true): Promise<void> {
    return this.command({ type: 'react', conversation, seq, emoji, on });
  }

  /** Who is online. With `watch`, a WebSocket brings `presence` from now on; other transports do not. */
  async presence(users: string[], { watch = false } = {}): Promise<Presence[]> {
    const also = watch && this.twoWay ? { watch } : {};
    const answer = await this.command<{ presence: Presence[] }>({ type: 'presence', users, ...also });
    return answer.presence;
  }

  publish(
    channel: string,
    body: Json,
    client_msg_id = randomId(),
  ): Promise<{ channel: string; seq: number; time: number }> {
    return this.command({ type: 'publish', channel, body, client_msg_id });
  }
}

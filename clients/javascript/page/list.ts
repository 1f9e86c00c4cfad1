/** The list of conversations. */

import type { Chat, Conversation } from '../src/chat/index.js';
import { $, arrange, h, text, textOf, when } from './dom.js';

interface Row {
  item: HTMLElement;
  shown?: Conversation;
  open?: boolean;
}

export class List {
  readonly #rows = new Map<string, Row>();

  constructor(
    readonly chat: Chat,
    readonly open: (id: string) => void,
  ) {}

  render(opened: string | undefined): void {
    const { conversations, loaded } = this.chat.snapshot();
    const items = conversations.map((conversation) => {
      const row = this.#rows.get(conversation.id) ?? this.#make(conversation.id);
      const open = conversation.id === opened;
      if (row.shown !== conversation || row.open !== open) this.#fill(row, conversation, open);
      return row.item;
    });
    arrange($('list'), items);
    $('list').hidden = items.length === 0;
    $('list-empty').hidden = items.length > 0;
    text(
      $('list-empty'),
      loaded ? 'No conversations yet. Write to somebody.' : 'Reading your conversations…',
    );
  }

  #make(id: string): Row {
    const row: Row = { item: h('li', {}, h('button', { type: 'button', click: () => this.open(id) })) };
    this.#rows.set(id, row);
    return row;
  }

  #fill(row: Row, conversation: Conversation, open: boolean): void {
    const { name, id, last, unread, time, pending, left } = conversation;
    const newest = pending.at(-1) ?? last;
    const button = row.item.firstElementChild as HTMLElement;
    button.setAttribute('aria-current', String(open));
    button.replaceChildren(
      h('span', { class: 'name', dir: 'auto' }, name || id),
      h('span', { class: 'when' }, when(time)),
      h(
        'span',
        { class: 'last', dir: 'auto' },
        left ? 'you are no member any more' : newest ? summary(newest) : 'nothing written yet',
      ),
      unread > 0
        ? h('span', { class: 'unread' }, String(unread), h('span', { class: 'unseen' }, ' unread'))
        : h('span'),
    );
    row.shown = conversation;
    row.open = open;
  }
}

function summary(message: NonNullable<Conversation['last']>): string {
  if (message.recalled) return 'recalled';
  return message.failed ? `not sent: ${textOf(message.body)}` : textOf(message.body);
}

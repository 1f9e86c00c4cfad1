/** One conversation: its messages, and what can be done with them. */

import type { Chat, Conversation, Shown } from '../src/chat/index.js';
import type { Switchboard } from '../src/client.js';
import { $, arrange, h, say, text, textOf, when } from './dom.js';

const EMOJI = ['👍', '❤️', '😂', '😮', '😢'];
/** Pixels from the end within which new messages are scrolled to. */
const NEAR = 80;

interface Line {
  element: HTMLElement;
  shown: Shown;
  marks: string;
  tools: boolean;
  author: boolean;
}

export class Thread {
  id: string | undefined;
  readonly #lines = new Map<string, Line>();
  #editing: number | undefined;
  #tools: string | undefined;
  #reading = false;
  #older: HTMLButtonElement;

  constructor(
    readonly client: Switchboard,
    readonly chat: Chat,
  ) {
    const messages = $('messages');
    this.#older = h(
      'button',
      { type: 'button', class: 'older', click: () => this.#readOlder() },
      'Older messages',
    );
    messages.addEventListener('scroll', () => messages.scrollTop < 200 && void this.#readOlder());
    $('compose').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    $('stop-editing').addEventListener('click', () => this.#edit(undefined));
    const field = $<HTMLTextAreaElement>('text');
    field.addEventListener('input', () => {
      this.#grow();
      if (this.id && field.value && this.#editing === undefined) this.chat.typing(this.id);
    });
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#submit();
      } else if (event.key === 'Escape') this.#edit(undefined);
      else if (event.key === 'ArrowUp' && !field.value) {
        // The key's own way would put the caret before the text.
        event.preventDefault();
        this.#editLast();
      }
    });
  }

  /** Shows another conversation. */
  async open(id: string): Promise<void> {
    this.id = id;
    this.#lines.clear();
    $('messages').replaceChildren();
    this.#edit(undefined);
    say($('problem'));
    this.render(true);
    $('title').focus();
    await this.#load(id);
  }

  async #load(id: string): Promise<void> {
    try {
      await this.chat.open(id);
      if (id !== this.id) return;
      this.render(true);
      const conversation = this.chat.conversation(id);
      if (conversation?.kind === 'direct') await this.chat.watch([conversation.name]);
    } catch (error) {
      if (id !== this.id) return;
      this.#problem(error, () => this.#load(id));
    }
  }

  render(toEnd = false): void {
    const conversation = this.id ? this.chat.conversation(this.id) : undefined;
    $('thread').hidden = !this.id;
    $('nothing').hidden = !!this.id;
    if (!conversation) return;
    const { typing } = this.chat.snapshot();
    text($('title'), conversation.name || conversation.id);
    const connected = this.client.state === 'connected';
    text($('subtitle'), connected ? this.#about(conversation) : 'no connection; trying again…');
    $('members').hidden = conversation.kind === 'direct' || conversation.left;
    const writers = typing[conversation.id] ?? [];
    text(
      $('typing'),
      writers.length ? `${writers.join(', ')} ${writers.length > 1 ? 'are' : 'is'} typing…` : '',
    );
    $('compose').hidden = conversation.left;
    this.#renderMessages(conversation, toEnd);
    this.#markRead(conversation);
  }

  #about(conversation: Conversation): string {
    if (conversation.left) return 'You are no member any more';
    if (conversation.kind === 'group') {
      const count = conversation.members.length;
      return count ? `${count} members: ${conversation.members.join(', ')}` : '';
    }
    const presence = this.chat.snapshot().presence[conversation.name];
    if (!presence) return '';
    if (presence.online) return 'online';
    return presence.last_seen ? `last seen ${when(presence.last_seen)}` : 'never seen';
  }

  #renderMessages(conversation: Conversation, toEnd: boolean): void {
    const messages = $('messages');
    const atEnd = toEnd || messages.scrollHeight - messages.scrollTop - messages.clientHeight < NEAR;
    const first = this.#first();
    const offset = first ? first.offsetTop - messages.scrollTop : 0;
    const wanted: HTMLElement[] = [];
    if (conversation.more && conversation.messages.length) wanted.push(this.#older);
    let author = '';
    for (const message of [...conversation.messages, ...conversation.pending]) {
      wanted.push(this.#line(conversation, message, message.from !== author));
      author = message.from;
    }
    arrange(messages, wanted);
    if (atEnd) messages.scrollTop = messages.scrollHeight;
    // Older ones came in above: what was read stays where it is.
    else if (first && first.isConnected) messages.scrollTop = first.offsetTop - offset;
  }

  #first(): HTMLElement | undefined {
    return $('messages').querySelector<HTMLElement>('.message') ?? undefined;
  }

  #line(conversation: Conversation, message: Shown, newAuthor: boolean): HTMLElement {
    const key = message.seq ? String(message.seq) : message.client_msg_id!;
    const old = this.#lines.get(key);
    const marks = message.from === this.client.user ? marksOf(conversation, message) : '';
    const tools = this.#tools === key;
    const author = newAuthor && conversation.kind === 'group';
    const same =
      old && old.shown === message && old.marks === marks && old.tools === tools && old.author === author;
    if (same) return old.element;
    const element = old?.element ?? h('article');
    this.#fill(element, conversation, message, key, marks, author);
    this.#lines.set(key, { element, shown: message, marks, tools, author });
    return element;
  }

  #fill(
    element: HTMLElement,
    conversation: Conversation,
    message: Shown,
    key: string,
    marks: string,
    author: boolean,
  ): void {
    const own = message.from === this.client.user;
    const focused =
      element.contains(document.activeElement) && (document.activeElement as HTMLElement).dataset.act;
    element.className = `message${own ? ' own' : ''}${message.recalled ? ' recalled' : ''}`;
    element.setAttribute('aria-label', `${own ? 'you' : message.from}, ${when(message.time)}`);
    const shown = message.recalled ? 'recalled' : textOf(message.body);
    const open = this.#tools === key;
    element.replaceChildren(
      ...([
        !own && author && h('span', { class: 'author', dir: 'auto' }, message.from),
        h('div', { class: 'bubble', dir: 'auto' }, shown),
        this.#reactions(conversation, message),
        h(
          'div',
          { class: 'meta' },
          when(message.time),
          !!message.edited && !message.recalled && ' · edited',
          !!marks &&
            h('span', { class: `marks ${marks}`, role: 'img', 'aria-label': marks }, SIGNS[marks] ?? ''),
          !!message.failed && h('span', { class: 'error' }, `not sent: ${message.failed}`),
          !!message.failed && this.#button('Try again', () => this.#again(conversation.id, key)),
          !!message.failed && this.#button('Discard', () => this.chat.discard(conversation.id, key)),
          !!message.seq &&
            !message.recalled &&
            !conversation.left &&
            h(
              'button',
              {
                type: 'button',
                'data-act': 'tools',
                'aria-expanded': String(open),
                'aria-label': 'What to do with this message',
                click: () => this.#toggle(open ? undefined : key),
              },
              '⋯',
            ),
        ),
        open && this.#toolbar(conversation, message),
      ].filter((child) => !!child) as Node[]),
    );
    if (focused) element.querySelector<HTMLElement>(`[data-act="${focused}"]`)?.focus();
  }

  #button(label: string, click: () => void): HTMLElement {
    return h('button', { type: 'button', click }, label);
  }

  #again(id: string, key: string): void {
    this.chat.retry(id, key)?.catch(() => {
      // It is shown at the message.
    });
  }

  #reactions(conversation: Conversation, message: Shown): HTMLElement | false {
    const all = Object.entries(message.reactions ?? {});
    if (!all.length) return false;
    return h(
      'div',
      { class: 'reactions' },
      ...all.map(([emoji, users]) => {
        const mine = users.includes(this.client.user);
        return h(
          'button',
          {
            type: 'button',
            'data-act': emoji,
            'aria-pressed': String(mine),
            title: users.join(', '),
            disabled: conversation.left,
            click: () => this.#do(() => this.client.react(conversation.id, message.seq, emoji, !mine)),
          },
          `${emoji} ${users.length}`,
          h('span', { class: 'unseen' }, ` by ${users.join(', ')}`),
        );
      }),
    );
  }

  #toolbar(conversation: Conversation, message: Shown): HTMLElement {
    const own = message.from === this.client.user;
    const act = (label: string, text: string, run: () => void) =>
      h(
        'button',
        {
          type: 'button',
          'aria-label': label,
          click: () => {
            this.#toggle(undefined);
            run();
          },
        },
        text,
      );
    const { id } = conversation;
    const { seq } = message;
    const recall = own || conversation.owner === this.client.user;
    return h(
      'div',
      { class: 'tools', role: 'toolbar', 'aria-label': 'Message' },
      ...EMOJI.map((emoji) =>
        act(`React with ${emoji}`, emoji, () => this.#do(() => this.client.react(id, seq, emoji))),
      ),
      own && act('Edit', 'Edit', () => this.#edit(message)),
      recall && act('Recall', 'Recall', () => this.#do(() => this.client.recall(id, seq))),
    );
  }

  #toggle(key: string | undefined): void {
    this.#tools = key;
    this.render();
  }

  #edit(message: Shown | undefined): void {
    const field = $<HTMLTextAreaElement>('text');
    if (message || this.#editing !== undefined) field.value = message ? textOf(message.body) : '';
    this.#editing = message?.seq;
    $('stop-editing').hidden = !message;
    text($('send'), message ? 'Save' : 'Send');
    this.#grow();
    if (message) field.focus();
  }

  #editLast(): void {
    const own = this.chat.conversation(this.id ?? '')?.messages.filter((m) => m.from === this.client.user);
    const last = own?.at(-1);
    if (last && !last.recalled) this.#edit(last);
  }

  #submit(): void {
    const field = $<HTMLTextAreaElement>('text');
    const { id } = this;
    const body = field.value.trim();
    if (!id || !body) return;
    const seq = this.#editing;
    this.#edit(undefined);
    field.value = '';
    this.#grow();
    field.focus();
    if (seq !== undefined) return this.#do(() => this.client.edit(id, seq, body));
    this.chat.send(id, body).catch(() => {
      // It is shown at the message.
    });
    this.render(true);
  }

  #grow(): void {
    const field = $<HTMLTextAreaElement>('text');
    field.rows = Math.min(6, field.value.split('\n').length);
  }

  #markRead(conversation: Conversation): void {
    if (document.visibilityState !== 'visible' || !conversation.messages.length || this.#reading) return;
    if (conversation.read >= conversation.head) return;
    this.#reading = true;
    this.chat
      .read(conversation.id)
      .catch(() => {
        // Said again with the next message.
      })
      .finally(() => (this.#reading = false));
  }

  async #readOlder(): Promise<void> {
    if (!this.id || this.#older.disabled || !this.#older.isConnected) return;
    this.#older.disabled = true;
    try {
      await this.chat.older(this.id);
    } catch (error) {
      this.#problem(error, () => this.#readOlder());
    }
    this.#older.disabled = false;
  }

  #do(run: () => Promise<unknown>): void {
    say($('problem'));
    run().catch((error) => this.#problem(error, async () => this.#do(run)));
  }

  #problem(error: unknown, again: () => Promise<void>): void {
    const retry = this.#button('Try again', () => {
      say($('problem'));
      void again();
    });
    say(
      $('problem'),
      (error as Error).message,
      retry,
      this.#button('Dismiss', () => say($('problem'))),
    );
  }
}

const SIGNS: Record<string, string> = { waiting: '○', sent: '✓', delivered: '✓✓', read: '✓✓' };

/** How far an own message is: at everybody, for `delivered` and `read`. */
function marksOf(conversation: Conversation, message: Shown): string {
  if (message.failed) return '';
  if (message.pending) return 'waiting';
  const others = conversation.members.filter((user) => user !== message.from);
  const marks = others.map((user) => conversation.marks[user] ?? { delivered: 0, read: 0 });
  if (!marks.length) return 'sent';
  if (marks.every(({ read }) => read >= message.seq)) return 'read';
  return marks.every(({ delivered }) => delivered >= message.seq) ? 'delivered' : 'sent';
}

/** The page at `/`: sign in, conversations, one thread, the connection. */

import { Chat } from '../src/chat/index.js';
import { Switchboard } from '../src/client.js';
import { SwitchboardError } from '../src/error.js';
import { Connection } from './connection.js';
import { $, h, say } from './dom.js';
import { List } from './list.js';
import { Thread } from './thread.js';

/** Who is signed in in this tab: a name (standalone), or a token. */
const SIGNED_IN = 'switchboard:page';

interface SignedIn {
  name?: string;
  token?: string;
}

/** A token for a name, where the server gives them for trying; `undefined` where it does not. */
async function devToken(user: string): Promise<string | undefined> {
  const response = await fetch('/dev/token', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user }),
  });
  if (response.status === 404 || response.status === 405) return undefined;
  const answer = await response.json();
  if (!response.ok) throw new SwitchboardError('bad_request', answer.message);
  return answer.token;
}

function signIn(error?: string): void {
  $('sign-in').hidden = false;
  $('chat').hidden = true;
  const form = $('sign-in').querySelector('form')!;
  const problem = form.querySelector<HTMLElement>('.error')!;
  const [name, token] = [
    form.elements.namedItem('name'),
    form.elements.namedItem('token'),
  ] as HTMLInputElement[];
  const askForToken = () => {
    $('name-field').hidden = true;
    name!.required = false;
    $('token-field').hidden = false;
    token!.required = true;
    $('sign-in-help').textContent =
      'This server gives no tokens for trying. Paste one: `gateway token --user alice` makes it.';
    token!.focus();
  };
  say(problem, error);
  name!.focus();
  form.onsubmit = async (event) => {
    event.preventDefault();
    say(problem);
    try {
      if (token!.value) return start({ token: token!.value.trim() });
      const user = name!.value.trim();
      if (await devToken(user)) return start({ name: user });
      askForToken();
    } catch (thrown) {
      say(problem, (thrown as Error).message);
    }
  };
}

function start(who: SignedIn): void {
  sessionStorage.setItem(SIGNED_IN, JSON.stringify(who));
  $('sign-in').hidden = true;
  $('chat').hidden = false;
  const client = new Switchboard(location.origin, {
    ...(who.token && { token: who.token }),
    ...(who.name && { getToken: async () => (await devToken(who.name!)) ?? '' }),
  });
  const chat = new Chat(client);
  const thread = new Thread(client, chat);
  const list = new List(chat, open);
  const connection = new Connection(client);

  function open(id: string): void {
    $('chat').classList.add('reading');
    history.replaceState(null, '', `#${id}`);
    void thread.open(id);
    render();
  }

  let due = 0;
  function render(): void {
    due ||= requestAnimationFrame(() => {
      due = 0;
      list.render(thread.id);
      thread.render();
      connection.render();
      const unread = chat.snapshot().conversations.reduce((sum, one) => sum + one.unread, 0);
      document.title = unread ? `(${unread}) Switchboard` : 'Switchboard';
    });
  }
  const stop = chat.subscribe(render);
  document.addEventListener('visibilitychange', render);

  function end(error?: string): void {
    stop();
    chat.close();
    connection.close();
    sessionStorage.removeItem(SIGNED_IN);
    signIn(error);
  }

  $('sign-out').onclick = async () => {
    await client.disconnect({ forget: true });
    location.hash = '';
    location.reload();
  };
  $('back').onclick = () => {
    $('chat').classList.remove('reading');
    $('list').querySelector<HTMLElement>('[aria-current=true]')?.focus();
  };
  $('start').onsubmit = (event) => {
    event.preventDefault();
    const field = $<HTMLInputElement>('start-name');
    const user = field.value.trim();
    if (!/^[A-Za-z0-9._@-]{1,64}$/.test(user)) {
      field.setCustomValidity('a name has letters, digits and . _ @ - only');
      field.reportValidity();
      field.oninput = () => field.setCustomValidity('');
      return;
    }
    field.value = '';
    open(client.direct(user));
  };
  groups(client, chat, open, () => thread.id);

  client
    .connect()
    .then(() => {
      $('me').textContent = client.user;
      const id = decodeURIComponent(location.hash.slice(1));
      if (id) open(id);
    })
    .catch((error: SwitchboardError) => {
      if (error.code === 'unauthorized' || error.code === 'bad_request') end(error.message);
      else render();
    });
  render();
}

/** The two dialogs of groups. */
function groups(
  client: Switchboard,
  chat: Chat,
  open: (id: string) => void,
  opened: () => string | undefined,
): void {
  const creating = $<HTMLDialogElement>('group-dialog');
  const showing = $<HTMLDialogElement>('members-dialog');
  for (const dialog of [creating, showing]) {
    dialog.querySelector<HTMLButtonElement>('[value=cancel]')!.onclick = () => dialog.close();
  }
  const problemOf = (dialog: HTMLElement) => dialog.querySelector<HTMLElement>('.error')!;
  const attempt = async (dialog: HTMLElement, run: () => Promise<void>) => {
    say(problemOf(dialog));
    await run().catch((error) => say(problemOf(dialog), (error as Error).message));
  };
  const valueOf = (form: HTMLFormElement, name: string) =>
    (form.elements.namedItem(name) as HTMLInputElement).value.trim();

  $('new-group').onclick = () => {
    say(problemOf(creating));
    creating.showModal();
  };
  const form = creating.querySelector('form')!;
  form.onsubmit = (event) => {
    event.preventDefault();
    const members = valueOf(form, 'members')
      .split(/[\s,]+/)
      .filter(Boolean);
    void attempt(creating, async () => {
      const id = await chat.createGroup(valueOf(form, 'name'), members);
      form.reset();
      creating.close();
      open(id);
    });
  };

  const show = async () => {
    const id = opened()!;
    await chat.open(id);
    const group = chat.conversation(id)!;
    const remove = (user: string) =>
      h(
        'button',
        {
          type: 'button',
          'aria-label': `Remove ${user}`,
          click: () => attempt(showing, () => client.removeMember(id, user).then(show)),
        },
        'Remove',
      );
    const mine = group.owner === client.user;
    $('rename').hidden = !mine;
    showing
      .querySelector('ul')!
      .replaceChildren(
        ...group.members.map((user) =>
          h(
            'li',
            {},
            h('span', { dir: 'auto' }, user, user === group.owner && ' (owner)'),
            mine && user !== client.user && remove(user),
          ),
        ),
      );
  };
  $('members').onclick = () => {
    showing.showModal();
    void attempt(showing, show);
  };
  const adding = $<HTMLFormElement>('add-member');
  adding.onsubmit = (event) => {
    event.preventDefault();
    void attempt(showing, async () => {
      await client.addMembers(opened()!, [valueOf(adding, 'user')]);
      adding.reset();
      await show();
    });
  };
  const renaming = $<HTMLFormElement>('rename');
  renaming.onsubmit = (event) => {
    event.preventDefault();
    void attempt(showing, async () => {
      await client.rename(opened()!, valueOf(renaming, 'name'));
      renaming.reset();
      showing.close();
    });
  };
  $('leave').onclick = () =>
    attempt(showing, async () => {
      await client.leave(opened()!);
      showing.close();
    });
}

const before = sessionStorage.getItem(SIGNED_IN);
if (before) start(JSON.parse(before));
else signIn();

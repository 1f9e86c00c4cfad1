/** Making elements. Whatever comes from users is text, never markup. */

type Child = Node | string | undefined | false;
type Props = Record<string, unknown>;

/** An element with attributes (or, for functions, listeners) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === 'function') element.addEventListener(name, value as EventListener);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child): child is Node | string => !!child));
  return element;
}

/** The element of the page with this id. */
export function $<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Shows what went wrong where it happened; without a text it hides it. */
export function say(place: HTMLElement, text?: string, ...more: Child[]): void {
  place.hidden = !text;
  place.replaceChildren(...((text ? [text, ' ', ...more.filter((child) => !!child)] : []) as Node[]));
}

/** Sets a text only where it is another one, so that screen readers are not told twice. */
export function text(element: HTMLElement, value: string): void {
  if (element.textContent !== value) element.textContent = value;
}

/** Makes the children of `parent` these elements, in this order, moving as few as can be. */
export function arrange(parent: HTMLElement, wanted: HTMLElement[]): void {
  let at = parent.firstElementChild;
  for (const element of wanted) {
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
  while (at) {
    const next: Element | null = at.nextElementSibling;
    at.remove();
    at = next;
  }
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

/** The time of today, or else the day. */
export function when(time: number): string {
  if (!time) return '';
  const date = new Date(time);
  return (date.toDateString() === new Date().toDateString() ? CLOCK : DAY).format(date);
}

/** A body as people read it. */
export function textOf(body: unknown): string {
  if (typeof body === 'string') return body;
  const inner = body && typeof body === 'object' && (body as { text?: unknown }).text;
  return typeof inner === 'string' ? inner : JSON.stringify(body);
}

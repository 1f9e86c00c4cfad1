/**
 * What survives a page: for each device of this user the cursor and the unsent messages, and which transport worked.
 * Each tab is a device of its own, so two tabs do not replace each other. A new tab takes over the unsent messages of
 * closed tabs.
 */

import type { Entry } from './outbox.js';

/** A storage that a program may give; `localStorage` is one. */
export interface Storage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** What is kept for a device. */
export interface Kept {
  cursor?: string;
  outbox?: Entry[];
}

/** A storage that forgets with the page. */
export function memory(): Storage {
  const map = new Map<string, string>();
  return {
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => void map.set(key, value),
    removeItem: (key) => void map.delete(key),
  };
}

/** The browser's storage, if the page may use it. */
export function fromBrowser(kind: 'localStorage' | 'sessionStorage'): Storage | undefined {
  try {
    return globalThis[kind];
  } catch {
    return undefined;
  }
}

/** Ten random characters of an alphabet of 32. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return [...bytes].map((byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte & 31]).join('');
}

export class Keeping {
  readonly #storage: Storage;
  readonly #prefix: string;
  #device = '';
  /** Releases the device's lock. */
  #release = () => {};

  /** The storage of one user at one server. */
  constructor(storage: Storage, server: string, user: string) {
    this.#storage = storage;
    this.#prefix = `switchboard:${server}:${user}`;
  }

  get prefix(): string {
    return this.#prefix;
  }

  get device(): string {
    return this.#device;
  }

  #key(device: string): string {
    return `${this.#prefix}:${device}`;
  }

  /** A full or forbidden storage must not stop messages: they are then in memory only. */
  #set(key: string, value: unknown): void {
    try {
      this.#storage.setItem(key, JSON.stringify(value));
    } catch {
      // Then it does not survive this page.
    }
  }

  #get<T>(key: string): T | undefined {
    try {
      return JSON.parse(this.#storage.getItem(key) ?? 'null') ?? undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * Chooses this tab's device: the one given; else the one that this tab had before a reload, unless another tab (a
   * copy of this one) has it; else a new one.
   */
  async begin(given?: string): Promise<Kept> {
    const tab = fromBrowser('sessionStorage');
    const remembered = given ?? tab?.getItem(this.#prefix) ?? this.#lone();
    this.#device = remembered && (given || (await this.#hold(remembered))) ? remembered : '';
    if (!this.#device) {
      this.#device = randomId();
      await this.#hold(this.#device);
    }
    try {
      tab?.setItem(this.#prefix, this.#device);
    } catch {
      // Then a reload is a new device.
    }
    await this.#list((devices) => (devices.includes(this.#device) ? devices : [...devices, this.#device]));
    return this.#get<Kept>(this.#key(this.#device)) ?? {};
  }

  /** Without tabs (Node) the device of the last run is used again. */
  #lone(): string | undefined {
    return globalThis.navigator?.locks ? undefined : this.#get<string[]>(this.#prefix)?.at(-1);
  }

  /** Takes the lock of a device for the life of this page; false when another tab has it. */
  #hold(device: string): Promise<boolean> {
    const locks = globalThis.navigator?.locks;
    if (!locks) return Promise.resolve(true);
    return new Promise((answer) => {
      const over = new Promise<void>((end) => (this.#release = end));
      locks
        .request(this.#key(device), { ifAvailable: true }, (lock) => {
          answer(!!lock);
          return lock ? over : undefined;
        })
        .catch(() => answer(true));
    });
  }

  async #list(change: (devices: string[]) => string[]): Promise<void> {
    const write = () => this.#set(this.#prefix, change(this.#get<string[]>(this.#prefix) ?? []));
    const locks = globalThis.navigator?.locks;
    if (locks) await locks.request(this.#prefix, write);
    else write();
  }

  /** Takes over the unsent messages of closed tabs, and removes them from the storage. */
  async adopt(): Promise<Entry[]> {
    const locks = globalThis.navigator?.locks;
    if (!locks) return [];
    const found: Entry[] = [];
    const gone: string[] = [];
    for (const device of this.#get<string[]>(this.#prefix) ?? []) {
      if (device === this.#device) continue;
      await locks.request(this.#key(device), { ifAvailable: true }, (lock) => {
        if (!lock) return;
        found.push(...(this.#get<Kept>(this.#key(device))?.outbox ?? []));
        this.#storage.removeItem(this.#key(device));
        gone.push(device);
      });
    }
    await this.#list((devices) => devices.filter((device) => !gone.includes(device)));
    return found;
  }

  keep(kept: Kept): void {
    this.#set(this.#key(this.#device), kept);
  }

  get transport(): string | null {
    return this.#get<string>(`${this.#prefix}:transport`) ?? null;
  }

  set transport(name: string) {
    this.#set(`${this.#prefix}:transport`, name);
  }

  /** Removes this device and everything that was kept for the user. */
  async forget(): Promise<void> {
    for (const device of this.#get<string[]>(this.#prefix) ?? []) {
      this.#storage.removeItem(this.#key(device));
    }
    this.#storage.removeItem(this.#prefix);
    this.#storage.removeItem(`${this.#prefix}:transport`);
    fromBrowser('sessionStorage')?.removeItem(this.#prefix);
    this.end();
  }

  /** Releases the device's lock. */
  end(): void {
    this.#release();
  }
}

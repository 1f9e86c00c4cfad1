// The forever iframe of a page of any origin: its scripts post to this window.

import frame from './frame.js';

export default async ({ at, take, base }) => {
  const listening = new AbortController();
  const url = at('/v1/iframe', { callback: 'postMessage', origin: location.origin });
  try {
    return await frame(url, (heard) => {
      const posted = (event) => {
        if (event.origin !== base) return;
        heard(event.data);
        take(event.data);
      };
      window.addEventListener('message', posted, { signal: listening.signal });
    });
  } finally {
    listening.abort();
  }
};

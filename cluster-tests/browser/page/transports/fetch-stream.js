// HTTP streaming with fetch: the body is read while it grows.

import lines from './lines.js';

export default async ({ at, take }) => {
  const response = await fetch(at('/v1/stream'));
  if (!response.ok) throw new Error(`status ${response.status}`);
  const decoder = new TextDecoder();
  const push = lines(take);
  const reader = response.body.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return 'over';
    push(decoder.decode(value, { stream: true }));
  }
};

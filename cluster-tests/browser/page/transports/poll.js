// Long polling with fetch: each poll gives the place where the next begins.

export default async ({ at, take }) => {
  let place = {};
  for (;;) {
    const response = await fetch(at('/v1/poll', { wait: 25, ...place }));
    if (!response.ok) throw new Error(`status ${response.status}`);
    const { events, cursor } = await response.json();
    events.forEach(take);
    place = { cursor };
  }
};

// The forever iframe of a page of the same origin: its scripts call `onFrame`.

import frame from './frame.js';

export default ({ at, take }) => {
  const url = at('/v1/iframe', { callback: 'parent.onFrame' });
  return frame(url, (heard) => {
    window.onFrame = (received) => {
      heard(received);
      take(received);
    };
  });
};

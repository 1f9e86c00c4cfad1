// Text in pieces, cut into lines; empty ones are heartbeats and padding.

export default function lines(take) {
  let rest = '';
  return (piece) => {
    const parts = (rest + piece).split('\n');
    rest = parts.pop();
    for (const line of parts) {
      if (line.trim() !== '') take(JSON.parse(line));
    }
  };
}

// A stock SockJS client, and what a page does around it: it comes back from the
// newest cursor. Each line of its input is a command, [type, fields]; what becomes
// of it, and all that the client hears, are lines of its output.
import { createInterface } from "node:readline";
import SockJS from "sockjs-client";

const [url, transport, token] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

let socket;
let cursor = null;
let over = false;

function connect() {
  const at = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
  socket = new SockJS(`${url}/sockjs?device=page&token=${token}${at}`, null, { transports: [transport] });
  socket.onopen = () => say({ opened: socket.transport, connected: at !== "" });
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    cursor = frame.cursor ?? cursor;
    say(frame.ref === undefined ? { event: frame.type, args: [frame] } : { answer: frame });
  };
  socket.onclose = ({ code, reason }) => {
    say({ disconnected: code, reason });
    if (!over) setTimeout(connect, 100);
  };
}
connect();

let ref = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const [type, fields] = JSON.parse(line);
  socket.send(JSON.stringify({ type, ref: `${ref}`, client_msg_id: `${token.slice(-8)}-${ref}`, ...fields }));
  ref += 1;
}
over = true;
socket.close();

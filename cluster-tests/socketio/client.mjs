// A stock Socket.IO client. Each line of its input is a command, [type, fields];
// what becomes of it, and all that the client hears, are lines of its output.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, transports, token] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const socket = io(url, {
  transports: transports.split(","),
  auth: { token },
  reconnectionDelay: 100,
  reconnectionDelayMax: 500,
});
socket.io.on("open", () => {
  const engine = socket.io.engine;
  say({ opened: engine.transport.name });
  engine.on("upgrade", (transport) => say({ upgraded: transport.name }));
});
socket.on("connect", () => say({ connected: socket.recovered }));
socket.on("connect_error", (error) => say({ refused: error.message, data: error.data ?? null }));
socket.on("disconnect", (reason) => say({ disconnected: reason }));
socket.onAny((event, ...args) => say({ event, args }));

for await (const line of createInterface({ input: process.stdin })) {
  const [type, fields] = JSON.parse(line);
  socket.emit(type, fields, (answer) => say({ answer }));
}
socket.disconnect();

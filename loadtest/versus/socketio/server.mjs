// One node of a Socket.IO cluster with the Redis adapter: what one would write
// who follows Socket.IO's documentation, and nothing more.
//
//     node server.mjs PORT REDIS_URL
//
// A user joins a room of its own name; `send` goes to a user's room, `publish`
// to a channel's.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const [port, redis] = process.argv.slice(2);
const publisher = new Redis(redis);
const subscriber = publisher.duplicate();

const http = createServer((_request, response) => response.end("ok\n"));
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  transports: ["polling", "websocket"],
});

io.on("connection", (socket) => {
  socket.join(socket.handshake.auth.user);
  socket.on("send", (to, body) => io.to(to).emit("message", body));
  socket.on("publish", (channel, body) => io.to(channel).emit("publication", body, channel));
  socket.on("subscribe", (channel) => {
    socket.join(channel);
    socket.emit("subscribed");
  });
});

// Node's own 511 would make a storm wait for the kernel to try again.
http.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });

// Says hello to bob, and prints what is written to alice:
// TOKEN=… node node.mjs http://127.0.0.1:8080
import { Switchboard } from 'switchboard-client';

const client = new Switchboard(process.argv[2], { token: process.env.TOKEN });
await client.connect();
const { conversation, seq } = await client.send({ to: 'bob', body: 'hello from Node' });
console.log(`sent as number ${seq} of ${conversation}`);
for await (const event of client.events()) {
  if (event.type === 'message') console.log(`${event.from}: ${event.body}`);
}

// A client made by openapi-typescript, used: who misses a field does not compile.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Frame = components["schemas"]["Frame"];

/** What was sent to one. */
function one(answer: components["schemas"]["SentOrResults"] | undefined): components["schemas"]["Sent"] {
  assert.ok(answer && "seq" in answer, JSON.stringify(answer));
  return answer;
}

const [, , baseUrl, alice, bob] = process.argv as string[];
const of = (token: string) =>
  // Answers may be protobuf, too; this one takes JSON.
  createClient<paths, "application/json">({ baseUrl: baseUrl!, headers: { authorization: `Bearer ${token}` } });
const [ours, theirs] = [of(alice!), of(bob!)];

// The place to read from.
const begun = await theirs.GET("/v1/poll", { params: { query: { wait: 0 } } });
const cursor = begun.data!.cursor;

// A message to a user, another to the conversation that it made.
const id = `ts-${process.pid}`;
const sent = one((await ours.POST("/v1/messages", { body: { to: "bob", body: { text: "hi" }, client_msg_id: id } })).data);
assert.equal(sent.conversation, "alice~bob");
const more = one((await ours.POST("/v1/messages", { body: { conversation: sent.conversation, body: 7 } })).data);
assert.equal(more.seq, sent.seq + 1);

/** What a frame says, told apart by its type. */
function told(frame: Frame): string {
  switch (frame.type) {
    case "message":
      return `${frame.from} #${frame.seq} ${JSON.stringify(frame.body)}`;
    case "reaction":
      return `${frame.user} ${frame.on ? "+" : "-"}${frame.emoji}`;
    case "receipt":
      return `${frame.user} ${frame.kind} ${frame.seq}`;
    default:
      return frame.type;
  }
}

const params = { path: { conversation: sent.conversation, seq: sent.seq, emoji: "👍" } };
assert.equal((await ours.PUT("/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}", { params })).error, undefined);
const events: Frame[] = [];
let place = cursor;
while (events.filter((frame) => frame.type !== "receipt").length < 3) {
  const polled = await theirs.GET("/v1/poll", { params: { query: { cursor: place, wait: 20, limit: 2 } } });
  events.push(...polled.data!.events);
  place = polled.data!.cursor;
}
const all = events.map(told);
for (const wanted of [`alice #${sent.seq} {"text":"hi"}`, `alice #${more.seq} 7`, "alice +👍"]) {
  assert.ok(all.includes(wanted), `${wanted} is not in ${JSON.stringify(all)}`);
}

// A refusal has a type, too.
const refused = await ours.GET("/v1/conversations/{conversation}/members", {
  params: { path: { conversation: "bob~carol" } },
});
assert.equal(refused.error!.code, "not_found");
const history = await ours.GET("/v1/conversations/{conversation}/messages", {
  params: { path: { conversation: "alice~bob" }, query: { limit: 2 } },
});
assert.deepEqual(history.data!.messages.map((message) => message.seq), [sent.seq, more.seq]);
assert.deepEqual(history.data!.messages[0]!.reactions, { "👍": ["alice"] });
console.log("openapi-typescript: sent, polled and read");

// The page at `/`: sign in, see your conversations, write. One WebSocket, with
// the cursor kept, so that a lost connection or node loses and repeats nothing.
const at = id => document.getElementById(id);
const state = { user: "", token: "", cursor: null, socket: null, unacked: false, open: null, seen: new Map(), names: new Map() };

const say = text => { at("status").textContent = text; };

async function api(path, options = {}) {
  const headers = { Authorization: `Bearer ${state.token}`, "Content-Type": "application/json" };
  const answer = await fetch(path, { ...options, headers });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.message || `HTTP ${answer.status}`);
  return body;
}

// A standalone server gives tokens; with any other one is pasted
// (`gateway token --user alice`).
at("sign-in").addEventListener("submit", async event => {
  event.preventDefault();
  try {
    const user = at("user").value.trim();
    if (at("token").hidden) {
      const answer = await fetch("dev/token", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ user }) });
      if (answer.status === 404) {
        at("token").hidden = false;
        at("token").required = true;
        at("token").focus();
        return say("this server gives no tokens: paste one");
      }
      const body = await answer.json();
      if (!answer.ok) return say(body.message);
      state.token = body.token;
    } else {
      state.token = at("token").value.trim();
    }
    at("sign-in").hidden = true;
    connect(0);
  } catch (error) {
    say(String(error.message || error));
  }
});

async function connect(attempt) {
  const again = () => setTimeout(() => connect(attempt + 1), Math.min(10_000, 250 * 2 ** attempt) * (0.5 + Math.random() / 2));
  let ticket;
  try {
    ({ ticket } = await api("v1/tickets", { method: "POST" }));
  } catch (error) {
    say(`${error.message}; trying again`);
    return again();
  }
  const url = new URL("v1/ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("ticket", ticket);
  if (state.cursor) url.searchParams.set("cursor", state.cursor);
  const socket = state.socket = new WebSocket(url);
  let stay = false;
  socket.addEventListener("message", event => {
    const frame = JSON.parse(event.data);
    if (frame.type === "welcome") attempt = 0;
    if (frame.type === "goaway") {
      // The next socket opens at its time; until then this one is served.
      stay = true;
      if (frame.reason === "shutdown") setTimeout(() => connect(0), frame.reconnect_in_ms);
      else say(`the server says goodbye: ${frame.reason}`);
    }
    heard(frame);
  });
  socket.addEventListener("close", () => {
    if (stay) return;
    say("connecting again");
    again();
  });
}

function heard(frame) {
  if (frame.cursor) {
    state.cursor = frame.cursor;
    state.unacked = frame.type !== "welcome";
  }
  switch (frame.type) {
    case "welcome":
      state.user = frame.user;
      say(`${frame.user} on ${frame.node}`);
      at("begin").hidden = false;
      if (!frame.resumed) load();
      break;
    case "message":
      add(frame.conversation, frame);
      break;
    case "sent":
      if (frame.cursor) add(frame.conversation, { ...frame, from: state.user, body: sent.get(frame.ref) });
      sent.delete(frame.ref);
      break;
    case "edited": case "recalled": case "reaction": case "reset":
      load();
      break;
    case "conversation":
      if (frame.name) state.names.set(frame.conversation, frame.name);
      list(frame.conversation);
      break;
    case "error":
      say(frame.message);
      break;
  }
}

setInterval(() => {
  if (!state.unacked || state.socket?.readyState !== WebSocket.OPEN) return;
  state.unacked = false;
  state.socket.send(JSON.stringify({ type: "ack", cursor: state.cursor }));
}, 1000);

// Everything anew: the conversations, and the messages of the open one.
async function load() {
  try {
    state.seen.clear();
    const { conversations } = await api("v1/conversations");
    for (const { conversation, name } of conversations) {
      if (name) state.names.set(conversation, name);
      list(conversation);
    }
    if (state.open) await show(state.open);
  } catch (error) {
    say(error.message);
  }
}

const nameOf = conversation => state.names.get(conversation)
  || (conversation.includes("~") ? conversation.split("~").find(user => user !== state.user) || state.user : conversation);

function list(conversation) {
  let button = [...at("conversations").children].find(one => one.dataset.id === conversation);
  if (!button) {
    button = document.createElement("button");
    button.dataset.id = conversation;
    button.addEventListener("click", () => show(conversation));
    at("conversations").append(button);
  }
  button.textContent = nameOf(conversation);
  button.setAttribute("aria-current", conversation === state.open);
}

async function show(conversation) {
  state.open = conversation;
  for (const button of at("conversations").children) list(button.dataset.id);
  list(conversation);
  at("send").hidden = false;
  at("text").focus();
  try {
    const { messages } = await api(`v1/conversations/${encodeURIComponent(conversation)}/messages?limit=100`);
    for (const message of messages) keep(conversation, message);
  } catch (error) {
    // A conversation that nobody has written in is not there yet.
    if (conversation.startsWith("g_")) say(error.message);
  }
  draw();
}

function keep(conversation, message) {
  if (!state.seen.has(conversation)) state.seen.set(conversation, new Map());
  state.seen.get(conversation).set(message.seq, message);
}

function add(conversation, message) {
  keep(conversation, message);
  list(conversation);
  if (conversation === state.open) draw();
}

function draw() {
  const messages = [...(state.seen.get(state.open)?.values() || [])].sort((a, b) => a.seq - b.seq);
  at("messages").replaceChildren(...messages.map(message => {
    const line = document.createElement("p");
    const from = document.createElement("b");
    const when = document.createElement("small");
    from.textContent = `${message.from} `;
    when.textContent = ` ${new Date(message.time).toLocaleTimeString()}`;
    const body = message.recalled ? "(recalled)" : typeof message.body === "string" ? message.body : JSON.stringify(message.body);
    line.append(from, body, when);
    return line;
  }));
  at("messages").scrollTop = at("messages").scrollHeight;
}

at("begin").addEventListener("submit", async event => {
  event.preventDefault();
  const users = at("with").value.split(",").map(user => user.trim()).filter(Boolean);
  at("with").value = "";
  if (users.length === 1) return show([state.user, users[0]].sort().join("~"));
  try {
    const { conversation } = await api("v1/conversations", { method: "POST", body: JSON.stringify({ name: users.join(", "), members: users }) });
    show(conversation);
  } catch (error) {
    say(error.message);
  }
});

const sent = new Map();
at("send").addEventListener("submit", event => {
  event.preventDefault();
  if (state.socket?.readyState !== WebSocket.OPEN) return say("not connected; try again in a moment");
  const id = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
  const body = at("text").value;
  const to = state.open.includes("~") ? { to: state.open.split("~").find(user => user !== state.user) || state.user } : { conversation: state.open };
  sent.set(id, body);
  state.socket.send(JSON.stringify({ type: "send", ref: id, client_msg_id: id, body, ...to }));
  at("text").value = "";
});

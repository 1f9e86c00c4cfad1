"""Talks to a cluster through its load balancer, as clients do: every transport,
and a long conversation that goes on while gateways come, restart and die. Only
Python's own library. Tokens come in ALICE, BOB and CAROL.

    exchange.py transports URL          a message to a reader on another node, over each transport
    exchange.py nodes URL COUNT         streams are dealt to this many gateways
    exchange.py through URL STOPFILE    writes and reads until the file is there; then everything
                                        that was acknowledged must have come, once and in order
"""

import base64
import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

PATIENCE = 30
HTTP = (http.client.HTTPException, OSError)


class Broken(Exception):
    """The connection ended."""


def http_request(url, method, path, token, body=None, headers=None):
    """One request on a connection of its own: status, headers, body."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=75)
    try:
        headers = {"Authorization": f"Bearer {token}", **(headers or {})}
        if body is not None:
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def send(url, token, to, body, client_msg_id):
    """Writes until it is acknowledged, under one id; gives the seq."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            status, _, answer = http_request(
                url, "POST", "/v1/messages", token, {"to": to, "body": body, "client_msg_id": client_msg_id}
            )
            if status == 200:
                return json.loads(answer)["seq"]
            if status not in (429, 502, 503, 504):
                raise SystemExit(f"a message was answered {status}: {answer!r}")
        except HTTP:
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"no answer to a message in {PATIENCE} s")
        time.sleep(0.1)


class Lines:
    """A response that goes on, one line after the other."""

    def __init__(self, url, path, token, cursor):
        place = f"{path}{'&' if '?' in path else '?'}cursor={cursor or 'start'}"
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=PATIENCE + 60)
        self.connection.request("GET", place, headers={"Authorization": f"Bearer {token}"})
        self.answer = self.connection.getresponse()
        if self.answer.status != 200:
            raise Broken(f"{self.answer.status} {self.answer.read()!r}")

    def frame(self):
        while True:
            try:
                line = self.answer.readline()
            except HTTP as error:
                raise Broken(str(error)) from error
            if not line:
                raise Broken("the stream ended")
            frame = self.parse(line.decode().rstrip("\r\n"))
            if frame is not None:
                return frame

    def close(self):
        self.connection.close()


class Sse(Lines):
    def __init__(self, url, token, cursor=None):
        super().__init__(url, "/v1/sse", token, cursor)

    def parse(self, line):
        return json.loads(line[5:]) if line.startswith("data:") else None


class Stream(Lines):
    def __init__(self, url, token, cursor=None):
        super().__init__(url, "/v1/stream", token, cursor)

    def parse(self, line):
        return json.loads(line) if line.strip() else None


class Iframe(Lines):
    def __init__(self, url, token, cursor=None):
        super().__init__(url, "/v1/iframe?callback=parent.onFrame", token, cursor)

    def parse(self, line):
        found = re.search(r"parent\.onFrame\((\{.*\})\)", line)
        return json.loads(found.group(1)) if found else None


class Http2:
    """NDJSON over HTTP/2 without TLS; curl speaks it."""

    def __init__(self, url, token, cursor=None):
        place = f"{url}/v1/stream?cursor={cursor or 'start'}"
        self.curl = subprocess.Popen(
            ["curl", "-sN", "--http2-prior-knowledge", "-H", f"Authorization: Bearer {token}", place],
            stdout=subprocess.PIPE,
        )

    def frame(self):
        for line in self.curl.stdout:
            if line.strip():
                return json.loads(line)
        raise Broken("curl ended")

    def close(self):
        self.curl.kill()
        self.curl.wait()


class Polls:
    """Long polls, or short ones; each may be answered by another node."""

    def __init__(self, url, token, cursor=None, wait=20):
        self.url, self.token, self.cursor, self.wait = url, token, cursor or "start", wait
        self.events = []

    def frame(self):
        while not self.events:
            try:
                status, _, answer = http_request(
                    self.url, "GET", f"/v1/poll?cursor={self.cursor}&wait={self.wait}", self.token
                )
            except HTTP as error:
                raise Broken(str(error)) from error
            if status != 200:
                raise Broken(f"{status} {answer!r}")
            answer = json.loads(answer)
            self.cursor, self.events = answer["cursor"], answer["events"]
            if not self.events and self.wait == 0:
                time.sleep(0.2)
        return self.events.pop(0)

    def close(self):
        pass


class ShortPolls(Polls):
    def __init__(self, url, token, cursor=None):
        super().__init__(url, token, cursor, wait=0)


class WebSocket:
    """RFC 6455, as far as a polite client needs it."""

    def __init__(self, url, token, cursor=None):
        address = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=PATIENCE + 60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v1/ws?cursor={cursor or 'start'} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        self.file = self.socket.makefile("rb")
        status = self.file.readline()
        while self.file.readline().strip():
            pass
        if b" 101 " not in status:
            raise Broken(status.decode())

    def read(self, count):
        data = self.file.read(count)
        if len(data) < count:
            raise Broken("the socket ended")
        return data

    def frame(self):
        while True:
            try:
                first, second = self.read(2)
                length = second & 127
                if length > 125:
                    length = struct.unpack(">H" if length == 126 else ">Q", self.read(2 if length == 126 else 8))[0]
                payload = self.read(length)
            except OSError as error:
                raise Broken(str(error)) from error
            kind = first & 15
            if kind == 1:
                return json.loads(payload)
            if kind == 9:
                self.write(10, payload)
            elif kind == 8:
                raise Broken(f"closed with {struct.unpack('>H', payload[:2])[0] if payload else 'nothing'}")

    def write(self, kind, payload):
        mask = os.urandom(4)
        length = len(payload)
        head = bytes([128 | kind, 128 | (length if length < 126 else 126)])
        if length > 125:
            head += struct.pack(">H", length)
        self.socket.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def command(self, **fields):
        self.write(1, json.dumps(fields).encode())

    def close(self):
        self.file.close()
        self.socket.close()


TRANSPORTS = {
    "websocket": WebSocket,
    "sse": Sse,
    "stream": Stream,
    "stream over HTTP/2": Http2,
    "iframe": Iframe,
    "long poll": Polls,
    "short poll": ShortPolls,
}


def until(reader, body):
    """Reads on until a message with this body; gives it."""
    while True:
        frame = reader.frame()
        if frame["type"] == "message" and frame["body"] == body:
            return frame


def open_elsewhere(opener, url, token, node):
    """A reader on another node than this one, where a transport says its node."""
    for _ in range(20):
        reader = opener(url, token)
        if isinstance(reader, Polls):
            return reader, None
        there = reader.frame()["node"]
        if there != node:
            return reader, there
        reader.close()
    raise SystemExit("twenty connections and all to one gateway: is there an affinity?")


def transports(url):
    alice, bob = os.environ["ALICE"], os.environ["BOB"]
    writer = WebSocket(url, alice)
    node = writer.frame()["node"]
    for name, opener in TRANSPORTS.items():
        reader, there = open_elsewhere(opener, url, bob, node)
        stamp = f"{name} {os.urandom(4).hex()}"
        writer.command(type="send", ref=name, to="bob", body={"down": stamp}, client_msg_id=os.urandom(8).hex())
        until(reader, {"down": stamp})
        send(url, bob, "alice", {"up": stamp}, os.urandom(8).hex())
        until(writer, {"up": stamp})
        reader.close()
        print(f"{name}: {node} -> {there or 'any node'}, and back")
    writer.close()


def nodes(url, count):
    deadline = time.monotonic() + PATIENCE
    found = set()
    while len(found) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"streams came to {len(found)} gateways in {PATIENCE} s, not to {count}")
        reader = Sse(url, os.environ["CAROL"])
        found.add(reader.frame()["node"])
        reader.close()
    print(f"streams are dealt to {len(found)} gateways")


def through(url, stop):
    """Bob writes, Carol reads over a WebSocket, a stream and polls, on three devices."""
    acknowledged, failures = [], []
    received = {name: [] for name in ("websocket", "sse", "long poll")}
    reconnects = dict.fromkeys(received, 0)
    head = json.loads(http_request(url, "GET", "/v1/poll?wait=0", os.environ["CAROL"])[2])["cursor"]

    def write():
        run = os.urandom(4).hex()
        number = 0
        while number >= 0:
            # The last one tells the readers that it is.
            number = -1 if os.path.exists(stop) else number + 1
            seq = send(url, os.environ["BOB"], "carol", {"n": number}, f"{run}-{number}")
            acknowledged.append((seq, number))
            time.sleep(0.02)

    def read(name):
        cursor, got = head, received[name]
        token = os.environ[f"CAROL_{name.split()[0].upper()}"]
        while not got or got[-1][1] >= 0:
            try:
                reader = TRANSPORTS[name](url, token, cursor)
                while not got or got[-1][1] >= 0:
                    frame = reader.frame()
                    cursor = frame.get("cursor", cursor)
                    if frame["type"] == "message":
                        got.append((frame["seq"], frame["body"]["n"]))
                    elif frame["type"] == "goaway":
                        if "reconnect_in_ms" not in frame:
                            raise SystemExit(f"{name}: {frame}")
                        time.sleep(frame["reconnect_in_ms"] / 1000)
                        raise Broken("told to go")
                    elif frame["type"] == "reset":
                        raise SystemExit(f"{name}: {frame}")
                reader.close()
            except (Broken, *HTTP):
                reconnects[name] += 1
                time.sleep(0.1)

    def caught(work, *arguments):
        try:
            work(*arguments)
        except BaseException as error:
            failures.append(str(error))

    writer = threading.Thread(target=caught, args=(write,), daemon=True)
    readers = [threading.Thread(target=caught, args=(read, name), daemon=True) for name in received]
    for thread in (writer, *readers):
        thread.start()
    writer.join()
    deadline = time.monotonic() + PATIENCE
    for thread in readers:
        thread.join(max(0, deadline - time.monotonic()))
    for name, got in received.items():
        if got != acknowledged:
            missing = sorted(set(acknowledged) - set(got))[:5]
            order = "in order" if got == sorted(got) else "not in order"
            failures.append(f"{name}: {len(got)} of {len(acknowledged)} came, {order}; missing: {missing}")
    if failures:
        raise SystemExit("\n".join(failures))
    print(f"{len(acknowledged)} acknowledged messages came once and in order; connected again: {reconnects}")


if __name__ == "__main__":
    what, url, *rest = sys.argv[1:]
    if what == "transports":
        transports(url)
    elif what == "nodes":
        nodes(url, int(rest[0]))
    else:
        through(url, rest[0])

# python-socketio as it comes from PyPI. Each line of its input is a command,
# [type, fields]; what becomes of it, and all that the client hears, are lines of
# its output. The asynchronous client: the other one runs each handler in a thread
# of its own, and so in any order.
import asyncio
import json
import sys

import socketio

url, transports, token = sys.argv[1:]
newest = None


def say(line):
    print(json.dumps(line), flush=True)


def auth():
    # It knows no recovery: a program gives its newest cursor itself.
    return {"token": token} if newest is None else {"token": token, "cursor": newest}


client = socketio.AsyncClient(reconnection_delay=0.1, reconnection_delay_max=0.5)
ready = asyncio.Event()


@client.event
def connect():
    say({"connected": client.transport()})
    ready.set()


@client.event
def connect_error(data):
    say({"refused": data})


@client.event
def disconnect(reason):
    ready.clear()
    say({"disconnected": reason})


@client.on("*")
def event(name, *args):
    global newest
    if args and isinstance(args[-1], str):
        newest = args[-1]
    say({"event": name, "args": args})


async def main():
    await client.connect(url, auth=auth, transports=transports.split(","), wait=False, retry=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    while line := await lines.readline():
        kind, fields = json.loads(line)
        await ready.wait()
        await client.emit(kind, fields, callback=lambda answer: say({"answer": answer}))
    await client.disconnect()


asyncio.run(main())

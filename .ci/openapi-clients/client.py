"""A client made by openapi-python-client, used: sends, polls, reads fields."""

import os
import sys

from switchboard_client import AuthenticatedClient
from switchboard_client.api.conversations import create_group, history, members, react_put
from switchboard_client.api.messages import send
from switchboard_client.api.poll import poll
from switchboard_client.models import (
    ConversationFrame,
    CreateGroupBody,
    Error,
    Message,
    MessageFrame,
    MessageToConversation,
    MessageToUser,
    MessageToUsers,
    ReactionFrame,
)

url, alice, bob = sys.argv[1:]
ours = AuthenticatedClient(base_url=url, token=alice, raise_on_unexpected_status=True)
theirs = AuthenticatedClient(base_url=url, token=bob, raise_on_unexpected_status=True)


def is_true(what, seen):
    if not what:
        sys.exit(f"openapi-python-client: {seen!r}")


place = poll.sync(client=theirs, wait=0).cursor

sent = send.sync(client=ours, body=MessageToUser(to="bob", body={"text": "hi"}, client_msg_id=f"py-{os.getpid()}"))
is_true(sent.conversation == "alice~bob", sent)
more = send.sync(client=ours, body=MessageToConversation(conversation=sent.conversation, body=7))
is_true(more.seq == sent.seq + 1, more)
many = send.sync(client=ours, body=MessageToUsers(to=["carol", "dave"], body="all")).results
is_true([result.type_ for result in many] == ["sent", "sent"] and many[0].conversation == "alice~carol", many)
react_put.sync(sent.conversation, sent.seq, "👍", client=ours)
group = create_group.sync(client=ours, body=CreateGroupBody(name="Team", members=["bob"]))

events = []
while not any(isinstance(frame, ConversationFrame) for frame in events):
    polled = poll.sync(client=theirs, cursor=place, wait=20, limit=2)
    events += polled.events
    place = polled.cursor
[first, second] = [frame for frame in events if isinstance(frame, MessageFrame)]
is_true((first.seq, first.from_, first.body) == (sent.seq, "alice", {"text": "hi"}), first)
is_true((second.seq, second.type_, second.body) == (more.seq, "message", 7), second)
[reaction] = [frame for frame in events if isinstance(frame, ReactionFrame)]
is_true((reaction.user, reaction.emoji, reaction.on) == ("alice", "👍", True), reaction)
[change] = [frame for frame in events if isinstance(frame, ConversationFrame)]
is_true((change.change, change.conversation, change.name) == ("created", group.conversation, "Team"), change)

refused = members.sync("bob~carol", client=ours)
is_true(isinstance(refused, Error) and refused.code == "not_found", refused)
read = history.sync("alice~bob", client=ours, limit=2).messages
is_true([message.seq for message in read] == [sent.seq, more.seq], read)
is_true(isinstance(read[0], Message) and read[0].reactions["👍"] == ["alice"], read[0])
print("openapi-python-client: sent, polled and read")

#!/bin/sh
# The raw protocol: sends as $ALICE, reads as $BOB (two tokens), at the server $1.
set -eu
server=$1
curl -sS -H "Authorization: Bearer $ALICE" --json '{"to":"bob","body":"hello from curl"}' "$server/v1/messages"
echo
curl -sS -H "Authorization: Bearer $BOB" "$server/v1/poll?wait=0&cursor=start"
echo

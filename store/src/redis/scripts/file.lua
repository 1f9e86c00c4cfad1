-- Files entries in inboxes. ARGV: events kept in an inbox, and their age; then per item
-- bucket, user, since (seq and version), conversation, kind, seq, version, the
-- seq of the message that it amends (0: none), fingerprint with time and size,
-- flags ('o': the user's own message, 'l': the last before leaving, 's': strict,
-- 'w': rewrite). Returns per item what `file` returns.
local bounds = {events = tonumber(ARGV[1]), inbox_oldest = now_ms() - tonumber(ARGV[2])}
bounds.most = bounds.events + bounds.events / 16
local results = {}
for at = 3, #ARGV, 11 do
  local bucket, user, since_seq, since_version, conversation, kind, seq, version, of, prefix, flags =
    unpack(ARGV, at, at + 10)
  local m = {bucket = bucket, user = user, seq = tonumber(since_seq), version = tonumber(since_version),
    own = string.find(flags, 'o', 1, true), left = string.find(flags, 'l', 1, true),
    rewrite = string.find(flags, 'w', 1, true)}
  local e = {conversation = conversation, kind = kind, seq = tonumber(seq), version = tonumber(version),
    of = tonumber(of), prefix = prefix}
  results[#results + 1] = {file(bounds, m, e, string.find(flags, 's', 1, true) ~= nil)}
end
tend(bounds)
return results

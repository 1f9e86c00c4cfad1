-- Envelopes of the store itself, put together as protobuf: keep the tags in
-- step with bus.proto.
local concat = table.concat

local function varint(n)
  if n < 128 then return char(n) end
  if n < 16384 then return char(n % 128 + 128, floor(n / 128)) end
  local out = {}
  while n >= 128 do
    out[#out + 1] = char(n % 128 + 128)
    n = floor(n / 128)
  end
  out[#out + 1] = char(n)
  return concat(out)
end

-- A length-delimited field.
local function field(tag, text) return tag .. varint(#text) .. text end

-- Bytes of an envelope at most, but for a single field that is larger: a node
-- that is slow would lose its subscription over few that are large.
local ENVELOPE = 1048576

-- Envelopes in the order in which they are begun: to which node, what is to be
-- said behind a first piece, and its bytes; and of each node the last one.
local order, bodies, sizes, latest = {}, {}, {}, {}

-- Says something to a node: a field of the envelope, in up to three pieces.
local function say(node, text, more, rest)
  local k, size = latest[node], #text
  if more then size = size + #more + #rest end
  if not k or sizes[k] + size > ENVELOPE then
    k = #order + 1
    order[k], bodies[k], sizes[k], latest[node] = node, {''}, 0, k
  end
  local list = bodies[k]
  local n = #list
  list[n + 1], list[n + 2], list[n + 3] = text, more, rest
  sizes[k] = sizes[k] + size
end

-- Publishes the envelopes, each node's numbered without holes. `i` is the
-- store's incarnation: id and count. Calls `gone` for a node that did not hear
-- it because its lease has ended.
local function publish(i, now, gone)
  if #order == 0 then return end
  local store = i[1] and field('\10', i[1] .. '.' .. i[2]) or ''
  for k, node in ipairs(order) do
    local number = call('HINCRBY', '{sb}envelopes', node, 1)
    bodies[k][1] = store .. '\24' .. varint(number)
    local heard = call('PUBLISH', 'n:' .. node, concat(bodies[k]))
    if heard == 0 then
      local lease = call('ZSCORE', '{sb}nodes', node)
      if not lease or tonumber(lease) < now then gone(node) end
    end
  end
end

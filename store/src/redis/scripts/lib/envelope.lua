-- Envelopes of the store itself, written as protobuf field by field: keep the
-- tags the same as in bus.proto.
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

-- The most bytes of an envelope; a single larger field goes alone. Larger
-- envelopes would quickly fill the queue of a slow node.
local ENVELOPE = 1048576

-- Envelopes in the order in which they are begun: the node, the pieces of the
-- body (the first is for the head), and its bytes; and for each node its last
-- envelope.
local order, bodies, sizes, latest = {}, {}, {}, {}

-- Adds a field to a node's envelope, in up to three pieces.
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

-- Publishes the envelopes, numbered for each node without holes. `i` is the
-- store's incarnation: id and count. Calls `gone` for a node that nobody
-- listens for and whose lease has ended.
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

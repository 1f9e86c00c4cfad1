-- Removes the newest element of a list again, which nobody has seen yet, since
-- what belongs to it was refused or is there already.
local function take_back(list)
  if type(redis.pcall('RPOP', list)) == 'table' then redis.call('LTRIM', list, 0, -2) end
end

-- Runs commands that belong together: each with `back`, which undoes it, where
-- that is needed. When one is refused, those before it are undone. Sets
-- `answer` of each.
local function write_all(steps)
  for n, step in ipairs(steps) do
    step.answer = redis.pcall(unpack(step))
    if type(step.answer) == 'table' and step.answer.err then
      for before = n - 1, 1, -1 do
        if steps[before].back then steps[before].back() end
      end
      error(step.answer)
    end
  end
end

-- A step that sets a field; `old` is its value before, or nil.
local function field_step(key, field, old, new)
  return {'HSET', key, field, new, back = function()
    if old then redis.call('HSET', key, field, old) else redis.call('HDEL', key, field) end
  end}
end

-- A step that sets a string that holds a number; `old` is 0 where there is
-- none.
local function base_step(key, old, new)
  return {'SET', key, new, back = function()
    if old > 0 then redis.call('SET', key, old) else redis.call('DEL', key) end
  end}
end

-- Removes the first `n` elements of a list, after the step that records that
-- they are gone.
local function cut_list(list, n, said) write_all({said, {'LTRIM', list, n, -1}}) end

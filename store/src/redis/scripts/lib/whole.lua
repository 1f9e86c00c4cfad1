-- Takes the newest of a list back, which nobody has seen yet: what belongs to it
-- was refused, or it is there already.
local function take_back(list)
  if type(redis.pcall('RPOP', list)) == 'table' then redis.call('LTRIM', list, 0, -2) end
end

-- Does what belongs together: commands, each with what takes it back, if it must
-- be. When one is refused, those before it are taken back. Each has its `answer`
-- afterwards.
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

-- Sets a field, which had this value before or none.
local function field_step(key, field, old, new)
  return {'HSET', key, field, new, back = function()
    if old then redis.call('HSET', key, field, old) else redis.call('HDEL', key, field) end
  end}
end

-- The same of a string that holds a number, nought where there is none.
local function base_step(key, old, new)
  return {'SET', key, new, back = function()
    if old > 0 then redis.call('SET', key, old) else redis.call('DEL', key) end
  end}
end

-- Cuts the first `n` off a list, where this step says that they are gone.
local function cut_list(list, n, said) write_all({said, {'LTRIM', list, n, -1}}) end

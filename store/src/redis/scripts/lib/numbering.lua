-- What few calls of `number.lua` need: see `on_demand.lua`.
return {take_back = take_back, repeated = repeated, begin_day = begin_day, trim_log = trim_log,
  read_post = read_post, a = number_amendment, c = number_change}

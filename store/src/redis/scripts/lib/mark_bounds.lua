local bounds = {age = tonumber(ARGV[1]), receipts = tonumber(ARGV[2])}

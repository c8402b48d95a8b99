#!lua flags=allow-oom
-- Completes the answer kept with an idempotency key of a message that was not
-- saved (TTL 0): how many it has reached.
-- KEYS  idempotency keys
-- ARGV  1 key, 2 fingerprint, 3 reached
-- out   1, or 0 when there is no such key

local value = redis.call('HGET', KEYS[1], ':' .. ARGV[1])
local rest = value and string.match(value, '^' .. ARGV[2] .. ' 0 %d+( .*)$')

if not rest then
    return 0
end

redis.call('HSET', KEYS[1], ':' .. ARGV[1],
           ARGV[2] .. ' 0 ' .. ARGV[3] .. rest)

return 1

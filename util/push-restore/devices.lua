#!lua
-- Makes the devices of a user known that nobody knows, as ones that have left.
-- KEYS  devices of the user
-- ARGV  1 seconds the devices are kept, 2 1: only say what would be done;
--       then device and entry of each
-- out   how many were not known

local n, new = 0, redis.call('EXISTS', KEYS[1]) == 0

for i = 3, #ARGV, 2 do
    if ARGV[2] == '1' then
        n = n + 1 - redis.call('HEXISTS', KEYS[1], ARGV[i])
    else
        n = n + redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
    end
end

if new and n > 0 and ARGV[2] ~= '1' then
    redis.call('EXPIRE', KEYS[1], ARGV[1])
end

return n

#!lua flags=allow-oom
-- Says that a node has members of a channel, or that it has none any more.
--
-- KEYS 1 nodes interested in the channel
--      2 log of the channel
-- ARGV 1 node
--      2 epoch, hexadecimal
--      3 how many; "-": it has none, and wants none
--
-- Result {i, l}.
if ARGV[3] ~= '-' then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])

else
    -- the node may have come back with another epoch

    local old = redis.call('HGET', KEYS[1], ARGV[1])

    if old and string.match(old, '^%x+') == ARGV[2] then
        redis.call('HDEL', KEYS[1], ARGV[1])
    end
end

local log = redis.call('HMGET', KEYS[2], 'i', 'l')

return {log[1] or '', log[2] or ''}

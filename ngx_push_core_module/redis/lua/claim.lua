#!lua flags=allow-oom
-- Takes a device for a connection.
--
-- KEYS 1 devices of the user
--      2 inbox log of the user
-- ARGV 1 device
--      2 node
--      3 epoch, hexadecimal
--      4 the claim that may be taken from another node although it is
--        online there, or an empty string
--      5 seconds for which other devices of the user may be unknown
--
-- Result {1, claim, entry before, i, l, a, f}; or, with nothing changed,
-- {0, entry}: the device is online at another node.
local old = redis.call('HGET', KEYS[1], ARGV[1])
local now = redis.call('TIME')[1]

-- A count of claims begins with the clock: one that begins when Redis has lost
-- everything is ahead of what the nodes still have.

local claim, keep = now - 1, '0 0 0 '

if old then
    local node, n, state, rest =
        string.match(old, '^(%S+) %x+ (%d+) (%a) %d+ (.*)$')

    if node then
        if state == 'o' and node ~= ARGV[2] and n ~= ARGV[4] then
            return {0, old}
        end

        claim, keep = tonumber(n), rest
    end
end

-- The first device of a user, or the first that comes back after Redis has lost
-- everything: as in cursor.lua, others may be known to their nodes alone.

if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('HSET', KEYS[2], 'y', now + ARGV[5])

    if redis.call('HEXISTS', KEYS[2], 'i') == 0 then
        redis.call('EXPIRE', KEYS[2], ARGV[5])
    end
end

claim = claim % 4294967295 + 1

redis.call('HSET', KEYS[1], ARGV[1],
           table.concat({ARGV[2], ARGV[3], string.format('%.0f', claim), 'o',
                         now, keep}, ' '))
redis.call('PERSIST', KEYS[1])

local log = redis.call('HMGET', KEYS[2], 'i', 'l', 'a', 'f')

return {1, string.format('%.0f', claim), old or '',
        log[1] or '', log[2] or '', log[3] or '', log[4] or ''}

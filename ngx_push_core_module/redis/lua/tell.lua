#!lua flags=no-writes
-- The last message of a log and who is to be told: after a save of which
-- nobody knows whether it was done.
-- KEYS  log; devices of the user or nodes of the channel
-- ARGV  1 HVALS or HGETALL: how the second key is read
-- out   {incarnation, number, blob or nil, {what 1 has read}}
--       {}  no such log

local call, log = redis.call, KEYS[1]
local m = call('HMGET', log, 'i', 'l')

if not m[1] then
    return {}
end

return {m[1], tonumber(m[2]), call('HGET', log, m[2]),
        call(ARGV[1], KEYS[2])}

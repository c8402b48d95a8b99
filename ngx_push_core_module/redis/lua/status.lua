#!lua flags=no-writes
-- What has become of a message.
-- KEYS  log; devices of the user
-- ARGV  1 incarnation, 2 number, 3 HVALS or empty: how the second key is read
-- out   {last, acknowledged, ended, head of the blob or nil, size of the blob,
--       {what 3 has read}}
--       {}  no such incarnation

local call, log = redis.call, KEYS[1]
local m = call('HMGET', log, 'i', 'l', 'a', 'e', ARGV[2])

if m[1] ~= ARGV[1] then
    return {}
end

local blob = m[5]

return {tonumber(m[2]), tonumber(m[3] or 0), tonumber(m[4] or 0),
        blob and string.sub(blob, 1, 21), blob and #blob or 0,
        blob and ARGV[3] ~= '' and call(ARGV[3], KEYS[2]) or {}}

-- What is known of a user.
--
-- KEYS 1 devices of the user
--      2 inbox log of the user
--
-- Result {i, l, a, numbers of the messages held, time, field, entry, ...}.
local log = redis.call('HMGET', KEYS[2], 'i', 'l', 'a')
local held = {}

if log[1] then
    for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
        local n = tonumber(name)

        if n and string.match(name, '^%d+$') then
            held[#held + 1] = n
        end
    end
end

local result = {log[1] or '', log[2] or '', log[3] or '', held,
                redis.call('TIME')[1]}

for _, value in ipairs(redis.call('HGETALL', KEYS[1])) do
    result[#result + 1] = value
end

return result

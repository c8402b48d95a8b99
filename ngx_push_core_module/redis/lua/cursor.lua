#!lua flags=allow-oom
-- Writes what a node knows of a device of its own, and ends the messages that
-- every known device of the user has acknowledged.
--
-- KEYS 1 devices of the user
--      2 inbox log of the user
-- ARGV 1 field: the device, or its own product, a NUL and the device
--      2 node
--      3 epoch, hexadecimal
--      4 claim
--      5 state: "o", "l", "x"; "-" forget the device; "?" nobody has it after
--        all, unless the claim is younger than "since" seconds
--      6 since
--      7 incarnation, hexadecimal; 0: not bound, 1: bound before any log
--      8 sent
--      9 acked
--     10 what the node keeps with it
--     11 1: what one device has acknowledged is done with
--     12 device_expiry, seconds
--
-- Result {1, claim, i, l, a, wait} written; {2, ...} a newer claim of this
-- node is under way, so only the cursor was; {0, entry} the device is another
-- node's.  "wait": seconds after which messages that all known devices have
-- may end; 0: nothing has to wait.
local now = tonumber(redis.call('TIME')[1])
local log = redis.call('HMGET', KEYS[2], 'i', 'l', 'a', 'f', 'y')
local old = redis.call('HGET', KEYS[1], ARGV[1])
local claim, state, since = ARGV[4], ARGV[5], ARGV[6]
local inc, sent, acked, rest = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local outcome = 1
local number = tonumber

if old then
    local node, epoch, n, st, si, i, se, ac, re = string.match(old,
        '^(%S+) (%x+) (%d+) (%a) (%d+) (%x+) (%d+) (%d+) (.*)$')

    if node then
        if number(n) > number(claim)
           and (node ~= ARGV[2] or epoch ~= ARGV[3])
        then
            return {0, old}
        end

        -- the same claim elsewhere, after a Redis that had forgotten

        if number(n) == number(claim)
           and (node ~= ARGV[2] or epoch ~= ARGV[3]) and st == 'o'
        then
            return {0, old}
        end

        if state == '?' then
            if st ~= 'o' or node ~= ARGV[2] or epoch ~= ARGV[3]
               or now - number(si) < number(since)
            then
                return {2, n, '', '', ''}
            end

            state, since, claim = 'l', now, n
            inc, sent, acked, rest = i, se, ac, re

        elseif number(n) > number(claim) then

            -- whoever made that claim may have died before it came online

            if now - number(si) <= 5 then
                outcome, state, since = 2, st, si
            end

            claim = n
        end

        -- a cursor only grows within an incarnation

        if i == inc then
            if number(se) > number(sent) then sent = se end
            if number(ac) > number(acked) then acked = ac end

        elseif i ~= '0' and (number(inc, 16) < 2 or i == log[1]) then
            inc, sent, acked = i, se, ac
        end
    end
end

if state == '?' then
    return {2, claim, '', '', ''}
end

if state == '-' then
    redis.call('HDEL', KEYS[1], ARGV[1])
else
    redis.call('HSET', KEYS[1], ARGV[1],
               table.concat({ARGV[2], ARGV[3], claim, state, since, inc, sent,
                             acked, rest}, ' '))
end

-- A device that is online and not known: Redis has lost something, and may not
-- know of the user's other devices either.  Until their nodes have told,
-- nothing is done with because all that are known have it ("y").

if not old and state ~= '-' then
    log[5] = now + 60
    redis.call('HSET', KEYS[2], 'y', log[5])

    if not log[1] then
        redis.call('EXPIRE', KEYS[2], 60)
    end
end

-- who else is there, and what has everybody got?

local all = redis.call('HGETALL', KEYS[1])
local online, done = false, nil

for n = 1, #all, 2 do
    local st, si, i, ac = string.match(all[n + 1],
                    '^%S+ %x+ %d+ (%a) (%d+) (%x+) %d+ (%d+) ')

    if st == 'o' then
        online = true

    elseif st and now - number(si) > number(ARGV[12]) then
        redis.call('HDEL', KEYS[1], all[n])
        i = '0'
    end

    if i and i ~= '0' then
        ac = i == log[1] and number(ac) or 0

        if not done then
            done = ac
        elseif ARGV[11] == '1' then
            done = math.max(done, ac)
        else
            done = math.min(done, ac)
        end
    end
end

if online then
    redis.call('PERSIST', KEYS[1])
else
    redis.call('EXPIRE', KEYS[1], ARGV[12])
end

-- what is not done with now may be in so many seconds

local wait = 0

if log[1] and done and done > number(log[3] or 0)
   and now < number(log[5] or 0)
then
    wait = number(log[5]) - now

elseif log[1] and done and done > number(log[3] or 0) then
    local last = number(log[2] or 0)
    local first = math.max(number(log[4] or 1), number(log[3] or 0) + 1)

    done = math.min(done, last)

    -- there may be many more numbers than messages

    local names = {}

    if done - first < 500 then
        for n = first, done do
            names[#names + 1] = string.format('%.0f', n)
        end

    else
        for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
            if string.match(name, '^%d+$') and number(name) <= done then
                names[#names + 1] = name
            end
        end
    end

    for n = 1, #names, 500 do
        redis.call('HDEL', KEYS[2],
                   unpack(names, n, math.min(n + 499, #names)))
    end

    log[3] = string.format('%.0f', done)
    redis.call('HSET', KEYS[2], 'a', log[3])

    if done + 1 > number(log[4] or 1) then
        redis.call('HSET', KEYS[2], 'f', string.format('%.0f', done + 1))
    end

    if done == last then
        redis.call('EXPIRE', KEYS[2], 60)
    end
end

-- Who has all there is, in an inbox without a message, stands before whatever
-- comes next: without numbers the entry is one of 64 bytes, which Redis packs.

if state ~= '-' and number(inc, 16) > 1 and sent == acked
   and (not log[1]
        or inc == log[1] and number(acked) >= number(log[2])
           and number(log[3] or 0) >= number(log[2]))
then
    redis.call('HSET', KEYS[1], ARGV[1],
               table.concat({ARGV[2], ARGV[3], claim, state, since, '1', '0',
                             '0', rest}, ' '))
end

return {outcome, claim, log[1] or '', log[2] or '', log[3] or '', wait}

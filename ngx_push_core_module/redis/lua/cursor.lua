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
--
-- A write for each message of each device: the common one, of a device that is
-- alone, online, and has got all there is, ends in four commands, and mostly
-- does not change the entry.
local call, number, match = redis.call, tonumber, string.match
local all = call('HGETALL', KEYS[1])
local log = call('HMGET', KEYS[2], 'i', 'l', 'a', 'f', 'y')
local field, claim, state, since = ARGV[1], ARGV[4], ARGV[5], ARGV[6]
local inc, sent, acked, rest = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local who = ARGV[2] .. ' ' .. ARGV[3] .. ' '
local head = who .. claim .. ' ' .. state .. ' ' .. since .. ' '
local outcome, old, was, now = 1

local function clock()
    now = now or number(call('TIME')[1])
    return now
end

for n = 1, #all, 2 do
    if all[n] == field then
        old = all[n + 1]
    end
end

if old then
    local node, epoch, n, st, si, i, se, ac, re

    if string.sub(old, 1, #head) == head then

        -- nothing but the cursor can have changed

        st = state
        i, se, ac = match(old, '^(%x+) (%d+) (%d+) ', #head + 1)

    else
        node, epoch, n, st, si, i, se, ac, re = match(old,
            '^(%S+) (%x+) (%d+) (%a) (%d+) (%x+) (%d+) (%d+) (.*)$')
    end

    was = st == 'o'

    if node then
        local other = node ~= ARGV[2] or epoch ~= ARGV[3]

        -- the same claim elsewhere: after a Redis that had forgotten

        if other and (number(n) > number(claim)
                      or number(n) == number(claim) and st == 'o')
        then
            return {0, old}
        end

        if state == '?' then
            if st ~= 'o' or other or clock() - number(si) < number(since) then
                return {2, n, '', '', ''}
            end

            state, since, claim = 'l', string.format('%d', clock()), n
            inc, sent, acked, rest = i, se, ac, re

        elseif number(n) > number(claim) then

            -- whoever made that claim may have died before it came online

            if clock() - number(si) <= 5 then
                outcome, state, since = 2, st, si
            end

            claim = n
        end

        head = who .. claim .. ' ' .. state .. ' ' .. since .. ' '
    end

    -- a cursor only grows within an incarnation

    if i == inc then
        if number(se) > number(sent) then sent = se end
        if number(ac) > number(acked) then acked = ac end

    elseif i and i ~= '0' and (number(inc, 16) < 2 or i == log[1]) then
        inc, sent, acked = i, se, ac
    end
end

if state == '?' then
    return {2, claim, '', '', ''}
end

-- A device that is online and not known: Redis has lost something, and may not
-- know of the user's other devices either.  Until their nodes have told,
-- nothing is done with because all that are known have it ("y").

if not old and state ~= '-' then
    all[#all + 1] = field
    all[#all + 1] = ''

    log[5] = clock() + 60
    call('HSET', KEYS[2], 'y', log[5])

    if not log[1] then
        call('EXPIRE', KEYS[2], 60)
    end
end

-- who else is there, and what has everybody got?

local online, done, forgotten = false, nil, state == '-'

for n = 1, #all, 2 do
    local st, si, i, ac

    if all[n] ~= field then
        st, si, i, ac = match(all[n + 1],
                              '^%S+ %x+ %d+ (%a) (%d+) (%x+) %d+ (%d+) ')
        was = was or st == 'o'

    elseif state ~= '-' then
        st, si, i, ac = state, since, inc, acked
    end

    if st == 'o' then
        online = true

    elseif st and clock() - number(si) > number(ARGV[12]) then
        call('HDEL', KEYS[1], all[n])
        forgotten = forgotten or all[n] == field
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

-- what is not done with now may be in so many seconds

local wait = 0

if not log[1] or not done or done <= number(log[3] or 0) then
    -- as before

elseif log[5] and clock() < number(log[5]) then
    wait = number(log[5]) - clock()

else
    local last = number(log[2] or 0)
    local first = math.max(number(log[4] or 1), number(log[3] or 0) + 1)

    done = math.min(done, last)
    log[3] = string.format('%d', done)

    -- there may be many more numbers than messages

    if first == done then
        call('HDEL', KEYS[2], log[3])

    elseif first < done then
        local names = {}

        if done - first < 500 then
            for n = first, done do
                names[#names + 1] = string.format('%d', n)
            end

        else
            for _, name in ipairs(call('HKEYS', KEYS[2])) do
                if match(name, '^%d+$') and number(name) <= done then
                    names[#names + 1] = name
                end
            end
        end

        for n = 1, #names, 500 do
            call('HDEL', KEYS[2],
                 unpack(names, n, math.min(n + 499, #names)))
        end
    end

    if done + 1 > number(log[4] or 1) then
        call('HSET', KEYS[2], 'a', log[3], 'f',
             string.format('%d', done + 1))
    else
        call('HSET', KEYS[2], 'a', log[3])
    end

    if done == last then
        call('EXPIRE', KEYS[2], '60')
    end
end

-- Who has all there is, in an inbox without a message, stands before whatever
-- comes next: without numbers the entry is one of 64 bytes, which Redis packs.

if number(inc, 16) > 1 and sent == acked
   and (not log[1]
        or inc == log[1] and number(acked) >= number(log[2])
           and number(log[3] or 0) >= number(log[2]))
then
    inc, sent, acked = '1', '0', '0'
end

if forgotten then
    call('HDEL', KEYS[1], field)

else
    local entry = head .. inc .. ' ' .. sent .. ' ' .. acked .. ' ' .. rest

    if entry ~= old then
        call('HSET', KEYS[1], field, entry)
    end
end

-- the key has no TTL while anybody was online

if not online then
    call('EXPIRE', KEYS[1], ARGV[12])
elseif not was then
    call('PERSIST', KEYS[1])
end

return {outcome, claim, log[1] or '', log[2] or '', log[3] or '', wait}

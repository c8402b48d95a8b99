#!lua
-- Saves a message and says who is to be told.
-- KEYS  log; devices of the user or nodes of the channel; idempotency keys
--       (the third only with a key)
-- ARGV  1 blob, 2 seconds it lives (0: it is not saved, only its key is),
--       3 now, 4 limit of the log, 5 HVALS, HGETALL or empty: how the second
--       key is read; with a key: 6 it, 7 fingerprint, 8 when the message
--       expires, 9 seconds a key is kept, 10 limit of keys; and at the end
--       which process of Redis this is
-- out   {incarnation, number, dropped, expired, {what 5 has read}}
--       {incarnation, number, expires}  the key was there: the first answer
--       {"mismatch"}                    it was, with another fingerprint
--       {"limited", seconds}            too many keys, one ends in seconds
-- All that can fail comes before the first write: an error changes nothing.

local call, log, ttl = redis.call, KEYS[1], tonumber(ARGV[2])
local now, run = tonumber(ARGV[3]), ARGV[#ARGV]
local key, keys, keep = #ARGV > 6 and ARGV[6], KEYS[3]
local who = ARGV[5] ~= '' and call(ARGV[5], KEYS[2]) or {}
local m = ttl > 0 and call('HMGET', log, 'i', 'l', 'f', 'x')
local inc, seq, dropped, expired = '0', 0, 0, 0
local head, tail

-- Keys are a ring in a hash: "h" is the number of the oldest, "t" that of the
-- newest, "nNUMBER" a key, ":KEY" its
-- "FINGERPRINT INCARNATION NUMBER EXPIRES WHEN NUMBER-IN-THE-RING".

if key then
    keep = tonumber(ARGV[9])

    local function purge(steps)
        while head <= tail and steps > 0 do
            local name = call('HGET', keys, 'n' .. head)
            local value = name and call('HGET', keys, ':' .. name)
            local when, number

            if value then
                when, number = string.match(value, '(%d+) (%d+)$')
            end

            if number and tonumber(number) == head then
                if when + keep > now then
                    return when + keep - now
                end

                call('HDEL', keys, ':' .. name)
            end

            call('HDEL', keys, 'n' .. head)
            head = head + 1
            steps = steps - 1
        end

        return 1
    end

    local old = call('HGET', keys, ':' .. key)
    local ends = call('HMGET', keys, 'h', 't')

    if old then
        local fingerprint, i, n, expires, when =
            string.match(old, '^(%x+) (%x+) (%d+) (%d+) (%d+)')

        if when + keep > now then
            if fingerprint ~= ARGV[7] then
                return {'mismatch'}
            end

            return {i, tonumber(n), tonumber(expires)}
        end
    end

    head, tail = tonumber(ends[1] or 1), tonumber(ends[2] or 0)

    local first, wait = head, purge(8)

    if head ~= first then
        call('HSET', keys, 'h', head)
    end

    if tail - head + 1 >= tonumber(ARGV[10]) then
        return {'limited', wait}
    end
end

if not m then
    -- not saved

elseif not m[1] then
    local t = call('TIME')

    inc = string.format('%x', t[1] * 1000000 + t[2])
    seq = 1

    call('HSET', log, 'i', inc, 'l', 1, 'x', now + ttl .. ' ' .. run,
         1, ARGV[1])
    call('EXPIRE', log, ttl + 1)

else
    -- "x" is when to look at the head again, and who has saved last.  If that
    -- was another process of Redis it may have given numbers that this one
    -- has never heard of, and that are known elsewhere: they are left out.
    -- By the age of the log in milliseconds, so that a second failover, to one
    -- that has not heard of the first either, goes on behind it.

    local first, limit = tonumber(m[3] or 1), tonumber(ARGV[4])
    local look, by = string.match(m[4] or '', '^(%d+) (.*)$')

    look = tonumber(look or 0)
    inc = m[1]
    seq = m[2] + 1

    local ended

    if by ~= run then
        local t = call('TIME')
        local age = math.floor(t[1] * 1000 + t[2] / 1000
                               - tonumber(inc, 16) / 1000)
        local after = math.max(seq, age) + 65536

        if first >= seq then
            first, look = after, now + ttl
        end

        seq = after
        ended = seq - 1
        call('HSET', log, 'l', seq, 'e', ended, 'f', first,
             'x', look .. ' ' .. run, seq, ARGV[1])

    else
        local number = string.format('%d', seq)

        -- when to look at an empty log: as was said, unless it is too late

        if first >= seq and (look <= now or look > now + ttl) then
            look = now + ttl
            call('HSET', log, 'l', number, 'x', look .. ' ' .. run,
                 number, ARGV[1])
        else
            call('HSET', log, 'l', number, number, ARGV[1])
        end
    end

    if first < seq then

        -- more than the limit, if no number between has ended?

        local over = seq - first + 1 - limit

        if over > 0 then
            local other = call('HMGET', log, 'f', 'a', 'e', 'y')

            over = call('HLEN', log) - 3 - limit

            for i = 1, 4 do
                over = over - (other[i] and 1 or 0)
            end
        end

        if over > 0 or look <= now then
            local steps, found = 256, false

            ended = ended or tonumber(call('HGET', log, 'e') or 0)

            look = now

            while first < seq and steps > 0 do
                local blob = call('HGET', log, first)

                if blob then
                    local a, b, c, d = string.byte(blob, 7, 10)
                    local expires = ((a * 256 + b) * 256 + c) * 256 + d

                    if expires <= now then
                        expired = expired + 1

                    elseif over > 0 then
                        dropped = dropped + 1

                    else
                        look = expires
                        break
                    end

                    call('HDEL', log, first)
                    ended = math.max(ended, first)
                    over = over - 1
                    found = true
                end

                first = first + 1
                steps = steps - 1
            end

            if steps == 0 and not found then

                -- numbers that were left out

                local names = call('HKEYS', log)

                first = seq

                for i = 1, #names do
                    first = math.min(first, tonumber(names[i]) or seq)
                end
            end

            if first == seq then
                look = now + ttl
            end

            call('HSET', log, 'f', first, 'x', look .. ' ' .. run, 'e', ended)
        end
    end

    call('EXPIRE', log, string.format('%d', ttl + 1), 'GT')
end

if key then
    tail = tail + 1
    call('HSET', keys, 'h', head, 't', tail, 'n' .. tail, key, ':' .. key,
         string.format('%s %s %d %d %d %d', ARGV[7], inc, seq, ARGV[8], now,
                       tail))
    call('EXPIRE', keys, keep)
end

return {inc, seq, dropped, expired, who}

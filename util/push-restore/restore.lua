#!lua
-- Puts messages of one incarnation of a log back, in their order.
-- KEYS  log; what was restored into it: INCARNATION -> UPTO
-- ARGV  1 incarnation, 2 its last number in the journal, 3 up to where every
--       device has acknowledged it, 4 now, 5 which process of Redis this is,
--       6 1: only say what would be done; then number, expires, blob of each
-- out   {put in place, appended as new, left alone, 1: the log was made}
--
-- Up to UPTO all has been looked at: a second run leaves it alone, for what
-- has become of it since is the log's affair.  Messages end from the head, so
-- what is missing behind "f" was forgotten, by a replica that was behind, say;
-- and numbers that were given a second time meanwhile make a message a new
-- one.  A log of another incarnation gets all as new ones.

local call, log, marks = redis.call, KEYS[1], KEYS[2]
local inc, last, everyone = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now, run, dry = tonumber(ARGV[4]), ARGV[5], ARGV[6] == '1'
local m = call('HMGET', log, 'i', 'l', 'f', 'a', 'x')
local own, top = m[1], tonumber(m[2] or 0)
local first, acked = tonumber(m[3] or 1), tonumber(m[4] or 0)
local upto = tonumber(call('HGET', marks, inc) or 0)
local fresh, made = not own, 0
local placed, appended, left, ends = 0, 0, 0, 0

local function text(n)
    return string.format('%.0f', n)
end

local function put(number, blob, expires)
    ends = math.max(ends, expires)

    if dry then
        return
    end

    call('HSET', log, text(number), blob)

    if fresh then
        fresh, top = false, math.max(number, last)

        -- "x" names no process, so the next save leaves numbers out that may
        -- have been given without the journal's knowing

        call('HSET', log, 'i', inc, 'l', text(top), 'f', text(number),
             'x', text(now))

        if everyone > 0 then
            call('HSET', log, 'a', text(everyone))
        end

    elseif number > top then
        top = number
        call('HSET', log, 'l', text(top))
    end
end

for n = 7, #ARGV, 3 do
    local seq, expires, blob = tonumber(ARGV[n]), tonumber(ARGV[n + 1]),
                               ARGV[n + 2]
    local over = seq <= upto or seq <= everyone or expires <= now
    local there

    if own == inc and not over then
        over = seq < first or seq <= acked
        there = call('HGET', log, text(seq))
    end

    if over or there == blob then
        left = left + 1

    elseif not own or own == inc and not there then
        if own and seq > top and not dry then
            call('HSET', log, 'x', text(now))
        end

        put(seq, blob, expires)
        placed = placed + 1
        made = own and 0 or 1

    else
        local x = m[5] or ''

        if string.match(x, ' (.*)$') ~= run then

            -- as a save would do it: what it lacks may have been given

            local t = call('TIME')
            local age = math.floor(t[1] * 1000 + t[2] / 1000
                                   - tonumber(own, 16) / 1000)

            top = math.max(top, age) + 65536

            if not dry then
                call('HSET', log, 'e', text(top),
                     'x', (string.match(x, '^%d+') or '0') .. ' ' .. run)
            end

            m[5] = '0 ' .. run
        end

        put(top + 1, blob, expires)
        appended = appended + 1
    end

    upto = math.max(upto, seq)
end

if not dry then
    local seconds = math.max(ends - now + 1, 86400)

    call('HSET', marks, inc, text(upto))
    call('EXPIRE', marks, seconds, 'NX')
    call('EXPIRE', marks, seconds, 'GT')

    if ends > 0 then
        call('EXPIRE', log, ends - now + 1, made == 1 and 'NX' or 'GT')
        call('EXPIRE', log, ends - now + 1, 'GT')
    end
end

return {placed, appended, left, made}

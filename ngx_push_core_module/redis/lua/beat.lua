-- The heartbeat of a node: holds its lease, and tells of all others.
--
-- KEYS  1 leases, 2 era
-- ARGV  1 node, 2 epoch, 3 lease in ms, 4 beat known last, 5 devices online,
--       6 sessions to be written back, 7 an era if there is none, 8 what to
--       do when another epoch has the lease: "wait", "take"; 9 "leave": the
--       node is going, whoever comes with its name may have the lease
-- result  now in ms; era; "held", "lapsed" (held again after it had ended),
--       "lost" (no lease of this node was here though it had one, or one that
--       knows of fewer beats) or "foreign"; our beat, or the foreign one's;
--       then name and value of every lease
--
-- A lease is "EPOCH UNTIL BEAT ONLINE REFLUSH STATE MARK", UNTIL in ms of this
-- clock, STATE "-" or "x" (going).  One that ended an hour ago is dropped.
-- MARK is the last beat that was not answered "held": it is answered "lost"
-- again until the node is seen to have had an answer since, for the first one
-- may never have reached it.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = tonumber(ARGV[4])
local mine = redis.call('HGET', KEYS[1], ARGV[1])
local how, beat, mark = 'held', known + 1, 0

redis.call('SET', KEYS[2], ARGV[7], 'NX')

if mine then
    local epoch, till, count, going, marked =
        string.match(mine, '^(%x+) (%d+) (%d+) %d+ %d+ (%S) (%d+)')
    till, count = tonumber(till), tonumber(count)

    if not epoch then
        how = 'lost'

    elseif epoch ~= ARGV[2] then
        if till > now and going ~= 'x' and ARGV[8] ~= 'take' then
            how, beat = 'foreign', count
        elseif known > 0 then
            how = 'lost'
        end

    elseif count < known then
        how = 'lost'

    else
        beat = count + 1
        if till <= now then
            how = 'lapsed'
        elseif tonumber(marked) > known then
            how, mark = 'lost', tonumber(marked)
        end
    end

elseif known > 0 then
    how = 'lost'
end

if how ~= 'foreign' then
    if how ~= 'held' and mark == 0 then
        mark = beat
    end

    redis.call('HSET', KEYS[1], ARGV[1],
               string.format('%s %.0f %.0f %s %s %s %.0f', ARGV[2],
                             now + tonumber(ARGV[3]), beat, ARGV[5], ARGV[6],
                             ARGV[9] == 'leave' and 'x' or '-', mark))
end

local all = redis.call('HGETALL', KEYS[1])
local answer = { string.format('%.0f', now), redis.call('GET', KEYS[2]), how,
                 string.format('%.0f', beat) }

for i = 1, #all, 2 do
    local till = tonumber(string.match(all[i + 1], '^%x+ (%d+)') or 0)

    if till + 3600000 < now then
        redis.call('HDEL', KEYS[1], all[i])
    else
        answer[#answer + 1] = all[i]
        answer[#answer + 1] = all[i + 1]
    end
end

return answer

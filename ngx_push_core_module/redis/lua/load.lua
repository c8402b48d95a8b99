#!lua flags=no-writes
-- Reads a page of a log.
-- KEYS  log
-- ARGV  1 incarnation known, or 0, 2 after which number, 3 up to which (0: the
--       last), 4 messages at most, 5 bytes after which it stops
-- out   {incarnation, last, acknowledged, first, read up to, number, blob, ...}
--       {}  no such log
-- Of another incarnation than the one known it reads from the first.  What is
-- between the numbers has ended.

local call, log = redis.call, KEYS[1]
local m = call('HMGET', log, 'i', 'l', 'a', 'f')

if not m[1] then
    return {}
end

local last, first = tonumber(m[2]), tonumber(m[4] or 1)
local out = {m[1], last, tonumber(m[3] or 0), first, 0}
local at, to = tonumber(ARGV[2]), tonumber(ARGV[3])
local max, bytes = tonumber(ARGV[4]), tonumber(ARGV[5])

if m[1] ~= ARGV[1] then
    at, to = 0, 0
end

if to == 0 or to > last then
    to = last
end

if at < first - 1 then
    at = math.min(first - 1, to)
end

-- Few messages in a wide range are looked up by their names.

local names
local held = to - at > 256 and call('HLEN', log)

if held and to - at > 2 * held then
    names = {}

    for _, name in ipairs(call('HKEYS', log)) do
        local seq = tonumber(name)

        if seq and seq > at and seq <= to then
            names[#names + 1] = seq
        end
    end

    table.sort(names)
end

-- Twice as many at a time while they are small.

local some, done, n = 4, 0, 5
local total = names and #names or to - at

while done < total and max > 0 and bytes > 0 do
    local part = {}

    some = math.min(some, total - done, max)

    for i = 1, some do
        part[i] = names and names[done + i] or at + i
    end

    local blobs = call('HMGET', log, unpack(part))

    for i = 1, some do
        if bytes <= 0 then
            break
        end

        at = part[i]
        done = done + 1

        if blobs[i] then
            out[n + 1], out[n + 2] = at, blobs[i]
            n = n + 2
            max = max - 1
            bytes = bytes - #blobs[i]
        end
    end

    some = math.min(some * 2, 64)
end

if done == total then
    at = math.max(at, to)
end

out[5] = at

return out

-- Applies one batch of one partition: as a whole, once, and only for the partition's owner.
--
-- KEYS  all tagged {p<N>}, so that they share a slot of a Redis Cluster
--   1  row     HASH    token, position, meta
--   2  timers  ZSET    person -> due ms
--   3  outbox  HASH    position -> blob
--   4  map     HASH    counter -> integer
--   5  states  prefix  a person's state is the STRING at this prefix .. person. No key has this name, so a cluster
--      that moves the slot to another node refuses the script (TRYAGAIN) until all keys have arrived
-- ARGV
--   1  token   of the caller
--   2  begin   position that the batch starts from; "" where the partition was never committed
--   3  end     position after the batch, never ""
--   4  meta    bytes kept beside the position
--   5  lists   MessagePack: {states: person, size, …; gone: person, …; armed: due, person, …;
--              disarmed: person, …; counters: counter, increment, …; trim: position, …}
--   6  states  the states of the batch, end to end, cut by the sizes in `lists`
--   7  outbox  blob to keep under `end`; absent where the batch has no outputs
--
-- Returns {"applied"} | {"already"} | {"fenced", token in force} | {"position", stored position}.
-- Positions and tokens are compared for equality only: Lua orders strings by the server's locale.

local row, timers, outbox, map, prefix = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, begin, finish, meta = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local call, sub = redis.call, string.sub

-- Checks. Nothing may change before the last of them.
local stored = call('HMGET', row, 'token', 'position')
if stored[1] ~= token then
  return {'fenced', stored[1] or ''}
end
local position = stored[2] or ''
if position == finish and position ~= begin then
  -- A write of no effect: a WAIT after it waits for the batch, which went in over another connection.
  call('HSET', row, 'token', token)
  return {'already'}
end
if position ~= begin then
  return {'position', position}
end
local lists = cmsgpack.unpack(ARGV[5])
local states, gone, armed, disarmed, counters, trim = unpack(lists)
-- These fail on a key of another type: better here than half-way, since Redis does not roll back.
call('ZCARD', timers)
call('HLEN', outbox)
call('HLEN', map)
-- The first write decides whether a full Redis refuses the script or lets all of it through, so it changes nothing.
call('HSET', row, 'token', token)

-- Long lists go in slices: `unpack` is bounded by Lua's stack.
local SLICE = 200
local function each(command, list, key)
  for first = 1, #list, SLICE do
    local last = math.min(first + SLICE - 1, #list)
    if key then
      call(command, key, unpack(list, first, last))
    else
      call(command, unpack(list, first, last))
    end
  end
end

local blob, at = ARGV[6], 1
for i = 1, #states, 2 do
  local size = states[i + 1]
  states[i] = prefix .. states[i]
  states[i + 1] = sub(blob, at, at + size - 1)
  at = at + size
end
each('MSET', states)
for i = 1, #gone do
  gone[i] = prefix .. gone[i]
end
each('DEL', gone)
each('ZADD', armed, timers)
each('ZREM', disarmed, timers)
for i = 1, #counters, 2 do
  call('HINCRBY', map, counters[i], counters[i + 1])
end
each('HDEL', trim, outbox)
if ARGV[7] then
  call('HSET', outbox, finish, ARGV[7])
end
call('HSET', row, 'position', finish, 'meta', meta)
return {'applied'}

"""What happens inside Valkey, each script one atomic step on the hash of one session.

Fields: `token` of whoever filled it or is about to; `items` joined by 0x1F, their `count`, time (`us`, microseconds)
and `id` of the newest event; of each model's state, by the model's digest, `state:…` and the count of items it is
`after:…`.

A hash without `items` is a lease: somebody reads the session in Postgres. Whatever changes the session meanwhile
deletes the lease, so that what was read too early is not kept. Erasing leaves a lease that is nobody's: until it runs
out nothing is kept, so that an event committed before does not come back with an append after.
"""

_READ = """
local kept = redis.call('HMGET', KEYS[1], 'items', 'count', 'token', 'state:' .. READ[4], 'after:' .. READ[4])
if kept[1] then
  redis.call('PEXPIRE', KEYS[1], READ[3])
  return kept
end
if redis.call('HSETNX', KEYS[1], 'token', READ[1]) == 1 then redis.call('PEXPIRE', KEYS[1], READ[2]) end
return false
"""
READ = "local READ = ARGV" + _READ
"""ARGV: token, lease_ms, ttl_ms, digest. The fields, or nil after having taken the lease if nobody had it."""

FILL = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] or redis.call('HEXISTS', KEYS[1], 'items') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'items', ARGV[2], 'count', ARGV[3], 'us', ARGV[4], 'id', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1
"""
"""ARGV: token, items, count, us, id, ttl_ms. Keeps what was read in Postgres, if the lease still holds."""

APPEND = """
local kept = redis.call('HMGET', KEYS[1], 'items', 'count', 'us', 'id', 'token')
if not kept[1] then return kept[5] == 'erased' and 0 or redis.call('DEL', KEYS[1]) end
local count, us, id = tonumber(kept[2]), tonumber(kept[3]), tonumber(kept[4])
local first_us, first_id = tonumber(ARGV[3]), tonumber(ARGV[4])
local newer = first_us > us or (first_us == us and first_id > id)
local added = tonumber(ARGV[2])
if not newer or count + added > tonumber(ARGV[7]) then return redis.call('DEL', KEYS[1]) end
local items = count == 0 and ARGV[1] or kept[1] .. '\\31' .. ARGV[1]
redis.call('HSET', KEYS[1], 'items', items, 'count', count + added, 'us', ARGV[5], 'id', ARGV[6])
return redis.call('PEXPIRE', KEYS[1], ARGV[8])
"""
"""ARGV: items, count, us and id of the first, us and id of the last, most items, ttl_ms.

Only events newer than all that is kept are appended. After any other, or when the hash grew too long, the session is
deleted: the next reader finds it in Postgres, in order.
"""

APPEND_AND_READ = "local function append()" + APPEND + "end append() local READ = {unpack(ARGV, 9)}" + _READ
"""ARGV: those of APPEND, then those of READ; answers as READ does."""

SAVE_STATE = """
local kept = redis.call('HMGET', KEYS[1], 'token', 'count', 'after:' .. ARGV[2])
if kept[1] ~= ARGV[1] or not kept[2] then return 0 end
if kept[3] and tonumber(kept[3]) > tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], 'state:' .. ARGV[2], ARGV[3], 'after:' .. ARGV[2], ARGV[4])
return 1
"""
"""ARGV: token, digest, state, after. A state of fewer items never replaces one of more of the same model."""

FORGET = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'token', 'erased')
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
"""ARGV: lease_ms."""

"""Lua scripts for the stream of a channel in Redis. Each is one atomic step.

The ids of a stream are `<epoch>-<seq>`. `XADD key <epoch>-*` gives numbers without holes, also after all messages were
trimmed. A channel that does not exist gets the epoch that the caller has chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final

__all__ = ["PUBLISH", "READ", "SCRIPTS", "TAILS", "Script"]


@dataclass(frozen=True)
class Script:
    """A script, and its digest, by which Redis identifies it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


_INFO: Final = """
local function info(key)
  local found = {}
  local fields = redis.call('XINFO', 'STREAM', key)
  for i = 1, #fields, 2 do found[fields[i]] = fields[i + 1] end
  return found
end
local function used(key, silence, unwritten)
  local known = info(key)
  local empty = string.match(known['last-generated-id'], '-0$')
  redis.call('PEXPIRE', key, empty and unwritten or silence)
  return known
end
"""

PUBLISH: Final = Script(
    _INFO
    + """
-- KEYS: the stream, and what remembers a publish with a key. ARGV: an epoch, the message, how many
-- are kept, milliseconds for the stream and for the key, where to tell.
if KEYS[2] then
  local known = redis.call('GET', KEYS[2])
  if known then return known end
end
local id = ARGV[1] .. '-1'
if redis.call('EXISTS', KEYS[1]) == 1 then
  id = string.match(info(KEYS[1])['last-generated-id'], '^%d+') .. '-*'
end
id = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], id, 'd', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if KEYS[2] then redis.call('SET', KEYS[2], id, 'PX', ARGV[5]) end
redis.call('PUBLISH', ARGV[6], id .. ' ' .. ARGV[2])
return id
"""
)

READ: Final = Script(
    _INFO
    + """
-- KEYS: the stream. ARGV: an epoch, the epoch and number of a position, how many messages, milliseconds for a
-- stream and for one in which nothing was published.
-- Returns the last id, the first that is kept or '', and ids and messages in turns.
local key = KEYS[1]
if redis.call('EXISTS', key) == 0 then
  redis.call('XADD', key, ARGV[1] .. '-0', 'd', '')
  redis.call('XDEL', key, ARGV[1] .. '-0')
end
local known = used(key, ARGV[5], ARGV[6])
local last = known['last-generated-id']
local first = known['first-entry']
local answer = {last, first and first[1] or ''}
if tonumber(ARGV[4]) > 0 then
  local start = '-'
  if string.match(last, '^%d+') == ARGV[2] then start = '(' .. ARGV[2] .. '-' .. ARGV[3] end
  for _, entry in ipairs(redis.call('XRANGE', key, start, '+', 'COUNT', ARGV[4])) do
    answer[#answer + 1] = entry[1]
    answer[#answer + 1] = entry[2][2]
  end
end
return answer
"""
)

TAILS: Final = Script(
    _INFO
    + """
-- KEYS: streams. ARGV: milliseconds, as for READ. Returns the last id of each, or ''.
local answer = {}
for i, key in ipairs(KEYS) do
  answer[i] = ''
  if redis.call('EXISTS', key) == 1 then
    answer[i] = used(key, ARGV[1], ARGV[2])['last-generated-id']
  end
end
return answer
"""
)

SCRIPTS: Final = (PUBLISH, READ, TAILS)

-- Reads a body by JSON's grammar, in one pass, and looks every name up. It goes no deeper than the contract's messages do:
-- what is a list or an object where none belongs is refused, so 1 MiB of brackets ends at the first of them.

local bindings = require("bindings")
local refusals = require("refusals")

local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local messages = bindings.messages

-- The names in a map are the caller's own, and what they name has none inside.
local OF_A_MAP = { kind = "" }
local QUOTE, BACKSLASH, LEFT_BRACE, LEFT_BRACKET = byte('"'), byte("\\"), byte("{"), byte("[")

local value

local function skip(text, at)
  return match(text, "^[ \t\r\n]*()", at)
end

-- Returns the place after the closing quote, and the string as it was written, escapes and all.
local function quoted(text, at)
  local from = at + 1
  local place = from
  while true do
    place = find(text, '["\\%z\1-\31]', place)
    local found = place and byte(text, place)
    if found == QUOTE then
      return place + 1, sub(text, from, place - 1)
    end
    if found ~= BACKSLASH then
      refusals.malformed(place or #text, "a string does not end")
    end
    local after = match(text, '^["\\/bfnrt]()', place + 1) or match(text, "^u%x%x%x%x()", place + 1)
    if not after then
      refusals.malformed(place, "an unknown escape")
    end
    place = after
  end
end

local function literal(text, at)
  local after = match(text, "^true()", at) or match(text, "^false()", at) or match(text, "^null()", at)
  if after then
    return after
  end
  after = match(text, "^-?0()", at) or match(text, "^-?[1-9]%d*()", at)
  if not after then
    refusals.malformed(at, "a value is missing")
  end
  after = match(text, "^%.%d+()", after) or after
  return match(text, "^[eE][+-]?%d+()", after) or after
end

local function array(text, at, field, path)
  if not field.list then
    refusals.no_list(sub(path, 1, -2))
  end
  at = skip(text, at + 1)
  if sub(text, at, at) == "]" then
    return at + 1
  end
  while true do
    at = skip(text, value(text, at, { kind = field.kind }, path))
    local found = sub(text, at, at)
    if found == "]" then
      return at + 1
    elseif found ~= "," then
      refusals.malformed(at, "a comma or bracket is missing")
    end
    at = skip(text, at + 1)
  end
end

local function object(text, at, kind, path, bound)
  if kind == "" then
    refusals.no_object(sub(path, 1, -2)) -- The transcoder takes {"seconds": 1} for a time, and drops what else is there.
  end
  local fields, seen, name = messages[kind], {}, nil
  at = skip(text, at + 1)
  if sub(text, at, at) == "}" then
    return at + 1
  end
  while true do
    if byte(text, at) ~= QUOTE then
      refusals.malformed(at, "a name is missing")
    end
    local start = at
    at, name = quoted(text, at)
    local field = fields and fields[name]
    if fields and (not field or (bound and bound[field])) then
      refusals.unknown_field(path .. name, kind)
    end
    local key = field or name
    if seen[key] then
      refusals.malformed(start, refusals.shown(name) .. " is there twice")
    end
    seen[key] = true
    at = skip(text, at)
    if sub(text, at, at) ~= ":" then
      refusals.malformed(at, "a colon is missing")
    end
    at = skip(text, value(text, skip(text, at + 1), field or OF_A_MAP, path .. name .. "."))
    local found = sub(text, at, at)
    if found == "}" then
      return at + 1
    elseif found ~= "," then
      refusals.malformed(at, "a comma or brace is missing")
    end
    at = skip(text, at + 1)
  end
end

function value(text, at, field, path, bound)
  local found = byte(text, at)
  if found == LEFT_BRACE then
    return object(text, at, field.kind, path, bound)
  elseif found == LEFT_BRACKET then
    return array(text, at, field, path)
  elseif found == QUOTE then
    return (quoted(text, at))
  end
  return literal(text, at)
end

local M = {}

-- Raises a refusal where a body is no JSON object of the binding's request.
function M.check(text, binding)
  local at = skip(text, 1)
  if byte(text, at) ~= LEFT_BRACE then
    refusals.malformed(at, "it must be an object")
  end
  at = skip(text, value(text, at, { kind = binding.request }, "", binding.bound))
  if at <= #text then
    refusals.malformed(at, "something follows it")
  end
end

return M

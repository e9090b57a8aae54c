-- Looks at every REST call before the transcoder does. The transcoder drops fields that a request does not have, so a
-- misspelt `limit_prise` would vanish; here it is refused, with its name. Unknown paths and query parameters, and text
-- that is no JSON, are refused here too, since the transcoder's own words name no reason.
--
-- What exists is in contract.lua, generated from the protos. gRPC calls pass untouched: their fields have numbers.

local contract = require("contract")

local byte, find, format, gmatch, gsub, match, sub =
  string.byte, string.find, string.format, string.gmatch, string.gsub, string.match, string.sub

-- Deeper than any message of the contract; without a bound, 1 MiB of brackets would recurse 1,000,000 times.
local MAX_DEPTH = 32
local ERROR_INFO = '{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"%s","domain":"tickmesh","metadata":%s}'
local BAD_REQUEST = ',{"@type":"type.googleapis.com/google.rpc.BadRequest",'
  .. '"field_violations":[{"field":"%s","description":"%s","reason":""}]}'

local QUOTE, BACKSLASH, LEFT_BRACE, LEFT_BRACKET = byte('"'), byte("\\"), byte("{"), byte("[")

-- --- what exists, arranged for looking up

-- A field's JSON name is accepted beside its own, as by the transcoder: limitPrice for limit_price.
local function with_json_names(fields)
  local named = {}
  for name, kind in pairs(fields) do
    local field = { kind = kind }
    named[name] = field
    named[(gsub(name, "_(%w)", string.upper))] = field
  end
  return named
end

local messages = {}
for name, fields in pairs(contract.messages) do
  messages[name] = with_json_names(fields)
end

local exact, templates = {}, {}
for _, binding in ipairs(contract.bindings) do
  local verb, path = binding.verb, binding.path
  exact[verb], templates[verb] = exact[verb] or {}, templates[verb] or {}
  binding.bound = {}
  for name in gmatch(path, "{([%w_]+)}") do
    binding.bound[messages[binding.request][name]] = true
  end
  if find(path, "{", 1, true) then
    local pattern = gsub(gsub(path, "[%-%.]", "%%%0"), "{[%w_]+}", "[^/]+")
    table.insert(templates[verb], { pattern = "^" .. pattern .. "$", binding = binding })
  else
    exact[verb][path] = binding
  end
end

local function find_binding(verb, path)
  local found = exact[verb] and exact[verb][path]
  if found then
    return found
  end
  for _, each in ipairs(templates[verb] or {}) do
    if find(path, each.pattern) then
      return each.binding
    end
  end
end

-- --- refusals, raised as errors

local function shown(text)
  text = gsub(sub(text, 1, 100), "[^\32-\126]", "?")
  return (gsub(text, '[\\"]', "\\%0"))
end

local function refuse(refusal)
  error(refusal, 0)
end

local function malformed(at, what)
  refuse({ reason = "MALFORMED_JSON", message = format("The body is not JSON: %s at byte %d.", what, at) })
end

local function unknown_field(field, message)
  local text = shown(field)
  local described = "there is no such field in " .. message
  refuse({ reason = "UNKNOWN_FIELD", message = format("%s: %s", text, described), field = text, described = described })
end

local function no_object(field)
  local text = shown(field)
  local described = "must not be an object"
  refuse({ reason = "INVALID_ARGUMENT", message = format("%s: %s", text, described), field = text, described = described })
end

local function unknown_parameter(name)
  local text = shown(name)
  local described = "there is no such query parameter"
  local message = format("%s: %s", text, described)
  refuse({ reason = "UNKNOWN_QUERY_PARAMETER", message = message, field = text, described = described })
end

-- --- the query

local function check_query(query, binding)
  for parameter in gmatch(query, "[^&]+") do
    local name = match(parameter, "^[^=]*")
    local fields, top = messages[binding.request], true
    for part in gmatch(name .. ".", "([^%.]*)%.") do
      local field = fields and fields[part]
      -- A binding with a body takes everything from there; what the path tells is not told twice.
      if not field or binding.body or (top and binding.bound[field]) then
        unknown_parameter(name)
      end
      fields, top = field.kind and messages[field.kind], false
    end
  end
end

-- --- the body: one pass that reads JSON by its grammar and looks every name up

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
      malformed(place or #text, "a string does not end")
    end
    local after = match(text, '^["\\/bfnrt]()', place + 1) or match(text, "^u%x%x%x%x()", place + 1)
    if not after then
      malformed(place, "an unknown escape")
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
    malformed(at, "a value is missing")
  end
  after = match(text, "^%.%d+()", after) or after
  return match(text, "^[eE][+-]?%d+()", after) or after
end

-- Nil inside of a map, whose names are the caller's own.
local function kind_of(field)
  if field then
    return field.kind
  end
end

local function array(text, at, kind, path, depth)
  at = skip(text, at + 1)
  if sub(text, at, at) == "]" then
    return at + 1
  end
  while true do
    at = skip(text, value(text, at, kind, path, depth + 1))
    local found = sub(text, at, at)
    if found == "]" then
      return at + 1
    elseif found ~= "," then
      malformed(at, "a comma or bracket is missing")
    end
    at = skip(text, at + 1)
  end
end

local function object(text, at, kind, path, depth, bound)
  if kind == false then
    no_object(sub(path, 1, -2)) -- The transcoder takes {"seconds": 1} for a time, and drops what else is there.
  end
  local fields, seen, name = messages[kind], {}, nil
  at = skip(text, at + 1)
  if sub(text, at, at) == "}" then
    return at + 1
  end
  while true do
    if byte(text, at) ~= QUOTE then
      malformed(at, "a name is missing")
    end
    local start = at
    at, name = quoted(text, at)
    local field = fields and fields[name]
    if fields and (not field or (bound and bound[field])) then
      unknown_field(path .. name, kind)
    end
    local key = field or name
    if seen[key] then
      malformed(start, shown(name) .. " is there twice")
    end
    seen[key] = true
    at = skip(text, at)
    if sub(text, at, at) ~= ":" then
      malformed(at, "a colon is missing")
    end
    at = skip(text, value(text, skip(text, at + 1), kind_of(field), path .. name .. ".", depth + 1))
    local found = sub(text, at, at)
    if found == "}" then
      return at + 1
    elseif found ~= "," then
      malformed(at, "a comma or brace is missing")
    end
    at = skip(text, at + 1)
  end
end

function value(text, at, kind, path, depth, bound)
  if depth > MAX_DEPTH then
    malformed(at, "too many brackets")
  end
  local found = byte(text, at)
  if found == LEFT_BRACE then
    return object(text, at, kind, path, depth, bound)
  elseif found == LEFT_BRACKET then
    return array(text, at, kind, path, depth)
  elseif found == QUOTE then
    return (quoted(text, at))
  end
  return literal(text, at)
end

local function check_body(text, binding)
  local at = skip(text, 1)
  if byte(text, at) ~= LEFT_BRACE then
    malformed(at, "it must be an object")
  end
  at = skip(text, value(text, at, binding.request, "", 1, binding.bound))
  if at <= #text then
    malformed(at, "something follows it")
  end
end

-- --- the filter

local function check(handle, verb, target, max_body_bytes)
  local path, query = match(target, "^([^?]*)%??(.*)$")
  local binding = find_binding(verb, path)
  if not binding then
    refuse({ status = "404", code = 5, reason = "METHOD_NOT_FOUND", message = "There is no such method or path; see /docs." })
  end
  check_query(query, binding)
  local body = handle:body()
  local size = body and body:length() or 0
  if size == 0 then
    return -- Nothing is an empty object.
  end
  if not binding.body then
    refuse({ reason = "UNKNOWN_FIELD", message = "This call takes no body." })
  end
  if size > max_body_bytes then -- HTTP/2 buffers more than Envoy's limit.
    refuse({ status = "413", code = 8, reason = "TOO_LARGE", message = "The body is larger than 1 MiB." })
  end
  check_body(body:getBytes(0, size), binding)
end

local function answer(handle, refusal)
  local metadata = refusal.field and format('{"field":"%s"}', refusal.field) or "{}"
  local details = format(ERROR_INFO, refusal.reason, metadata)
  if refusal.field then
    details = details .. format(BAD_REQUEST, refusal.field, refusal.described)
  end
  local body = format('{"code":%d,"message":"%s","details":[%s]}', refusal.code or 3, refusal.message, details)
  handle:streamInfo():dynamicMetadata():set("tickmesh", "refused", true)
  handle:respond({ [":status"] = refusal.status or "400", ["content-type"] = "application/json" }, body)
end

local M = {}

function M.request(handle, max_body_bytes)
  local headers = handle:headers()
  local target = headers:get(":path")
  local noted = handle:streamInfo():dynamicMetadata()
  -- For the access log: the transcoder replaces the path, and a 10 kB one is not worth keeping whole.
  noted:set("tickmesh", "path", sub(target, 1, 200))
  if find(headers:get("content-type") or "", "^application/grpc") then
    -- For errors of Envoy's own: later the transcoder makes gRPC calls of REST calls, and nothing else tells them apart.
    noted:set("tickmesh", "grpc", true)
    return
  end
  if sub(target, 1, 5) ~= "/api/" then
    return
  end
  local passed, refusal = pcall(check, handle, headers:get(":method"), target, max_body_bytes)
  if passed then
    return
  end
  if type(refusal) ~= "table" then
    -- A fault of this script; Envoy itself would let the call pass unchecked.
    handle:logErr(tostring(refusal))
    refusal = { status = "500", code = 13, reason = "INTERNAL_ERROR", message = "Something went wrong here; it was logged." }
  end
  answer(handle, refusal)
end

return M

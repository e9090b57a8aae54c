-- Looks at every REST call before the transcoder does. The transcoder drops fields that a request does not have, so a
-- misspelt `limit_prise` would vanish; here it is refused, with its name. Unknown paths and query parameters, and text
-- that is no JSON, are refused here too, since the transcoder's own words name no reason.
--
-- What exists is in contract.lua, generated from the protos. gRPC calls pass untouched: their fields have numbers.

local bindings = require("bindings")
local body = require("body")
local refusals = require("refusals")

local find, gmatch, match, sub = string.find, string.gmatch, string.match, string.sub
local messages = bindings.messages

local function check_query(query, binding)
  for parameter in gmatch(query, "[^&]+") do
    local name = match(parameter, "^[^=]*")
    local fields, top = messages[binding.request], true
    for part in gmatch(name .. ".", "([^%.]*)%.") do
      local field = fields and fields[part]
      -- A binding with a body takes everything from there; what the path tells is not told twice.
      if not field or binding.body or (top and binding.bound[field]) then
        refusals.unknown_parameter(name)
      end
      fields, top = messages[field.kind], false
    end
  end
end

local function check(handle, verb, target, max_body_bytes)
  local path, query = match(target, "^([^?]*)%??(.*)$")
  local binding = bindings.find(verb, path)
  if not binding then
    refusals.not_found()
  end
  check_query(query, binding)
  local buffer = handle:body()
  local size = buffer and buffer:length() or 0
  if size == 0 then
    return -- Nothing is an empty object.
  end
  if not binding.body then
    refusals.no_body()
  end
  if size > max_body_bytes then -- HTTP/2 buffers more than Envoy's limit.
    refusals.too_large()
  end
  body.check(buffer:getBytes(0, size), binding)
end

-- What is noted is for Envoy's own part: the access log, and the mappers of its errors. An object of Envoy's lives no
-- longer than a wait for the body, so it is fetched each time.
local function note(handle, key, value)
  handle:streamInfo():dynamicMetadata():set("tickmesh", key, value)
end

local function refuse(handle, refusal)
  note(handle, "refused", true)
  local status, told, code = refusals.told(refusal)
  note(handle, "grpc_status", tostring(code))
  handle:respond({ [":status"] = status, ["content-type"] = "application/json" }, told)
end

local function look(handle, max_body_bytes)
  local headers = handle:headers()
  local target, verb = headers:get(":path"), headers:get(":method")
  -- The transcoder replaces the path, and a 10 kB one is not worth keeping whole.
  note(handle, "path", sub(target, 1, 200))
  if find(headers:get("content-type") or "", "^application/grpc") then
    -- Later the transcoder makes gRPC calls of REST calls, and nothing else tells them apart.
    note(handle, "grpc", true)
  elseif sub(target, 1, 5) == "/api/" then
    check(handle, verb, target, max_body_bytes)
  end
end

local M = {}

function M.request(handle, max_body_bytes)
  local passed, refusal = pcall(look, handle, max_body_bytes)
  if passed then
    return
  end
  if type(refusal) ~= "table" then
    -- A fault of the filter's own. Envoy would let the call pass unchecked; a field that vanishes is worse than an error.
    handle:logErr(tostring(refusal))
    refusal = refusals.fault
  end
  refuse(handle, refusal)
end

-- Of a value that it cannot read, as `SIDE_BOUGHT`, the transcoder says first which field's it is: that goes to its place.
function M.response(handle)
  local headers = handle:headers()
  if headers:get(":status") ~= "400" then
    return
  end
  local body = handle:body()
  local told = body and refusals.placed(body:getBytes(0, body:length()))
  if told then
    headers:replace("content-length", tostring(body:setBytes(told)))
  end
end

return M

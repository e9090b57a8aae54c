-- Why a call is refused: raised as errors that are tables, told in the shape of every error.

local format, gsub, match, sub = string.format, string.gsub, string.match, string.sub

local ERROR_INFO = '{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"%s","domain":"tickmesh","metadata":%s}'
local BAD_REQUEST = ',{"@type":"type.googleapis.com/google.rpc.BadRequest",'
  .. '"field_violations":[{"field":"%s","description":"%s","reason":""}]}'

-- A caller's text, short and safe inside of a JSON string.
local function shown(text)
  text = gsub(sub(text, 1, 100), "[^\32-\126]", "?")
  return (gsub(text, '[\\"]', "\\%0"))
end

local function field_refused(reason, name, described)
  local field = shown(name)
  local message = format("%s: %s", field, described)
  error({ reason = reason, message = message, field = field, described = described }, 0)
end

local M = { shown = shown }

function M.malformed(at, what)
  error({ reason = "MALFORMED_JSON", message = format("The body is not JSON: %s at byte %d.", what, at) }, 0)
end

function M.unknown_field(name, message)
  field_refused("UNKNOWN_FIELD", name, "there is no such field in " .. message)
end

function M.unknown_parameter(name)
  field_refused("UNKNOWN_QUERY_PARAMETER", name, "there is no such query parameter")
end

function M.no_object(name)
  field_refused("INVALID_ARGUMENT", name, "must not be an object")
end

function M.no_list(name)
  field_refused("INVALID_ARGUMENT", name, "must not be a list")
end

function M.no_body()
  error({ reason = "UNKNOWN_FIELD", message = "This call takes no body." }, 0)
end

function M.too_large()
  error({ status = "413", code = 8, reason = "TOO_LARGE", message = "The body is larger than 1 MiB." }, 0)
end

function M.not_found()
  local message = "There is no such method or path; see /docs."
  error({ status = "404", code = 5, reason = "METHOD_NOT_FOUND", message = message }, 0)
end

-- Not raised: what takes the place of an error of the filter's own.
M.fault = { status = "500", code = 13, reason = "INTERNAL_ERROR", message = "Something went wrong here; it was logged." }

-- What Envoy tells of a request that it cannot read, with the field in its place; nil of anything else.
function M.placed(told)
  local field = match(told, '"message":"The request cannot be read: ([^: "]+): ')
  if not field then
    return nil
  end
  local name = gsub(field, "%%", "%%%%")
  told = gsub(told, '"description":"[^: "]+: ', '"description":"', 1)
  told = gsub(told, '"field":""', '"field":"' .. name .. '"', 1)
  return (gsub(told, '"metadata":{}', '"metadata":{"field":"' .. name .. '"}', 1))
end

-- The HTTP status, the JSON and the status code of a refusal.
function M.told(refusal)
  local code = refusal.code or 3
  local metadata = refusal.field and format('{"field":"%s"}', refusal.field) or "{}"
  local details = format(ERROR_INFO, refusal.reason, metadata)
  if refusal.field then
    details = details .. format(BAD_REQUEST, refusal.field, refusal.described)
  end
  local body = format('{"code":%d,"message":"%s","details":[%s]}', code, refusal.message, details)
  return refusal.status or "400", body, code
end

return M

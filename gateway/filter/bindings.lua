-- What exists, arranged for looking up: the fields of requests, and which request an HTTP call makes.

local contract = require("contract")

local find, gmatch, gsub = string.find, string.gmatch, string.gsub

-- A field's JSON name is accepted beside its own, as by the transcoder: limitPrice for limit_price. The kind is a
-- message's name, `map`, or empty for what has no names inside.
local function with_json_names(fields)
  local named = {}
  for name, of in pairs(fields) do
    local kind = gsub(of, "^%[%]", "")
    local field = { kind = kind, list = kind ~= of }
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
  -- The fields that the path tells; a query or a body must not tell them again.
  binding.bound = {}
  for name in gmatch(path, "{([%w_]+)}") do
    binding.bound[messages[binding.request][name]] = true
  end
  if find(path, "{", 1, true) then
    -- A colon begins a verb: without it /portfolios/trend:stream would be the portfolio "trend:stream".
    local pattern = gsub(gsub(path, "[%-%.]", "%%%0"), "{[%w_]+}", "[^/:]+")
    table.insert(templates[verb], { pattern = "^" .. pattern .. "$", binding = binding })
  else
    exact[verb][path] = binding
  end
end

local M = { messages = messages }

-- The binding of a call, or nil. A path without variables goes before one with them.
function M.find(verb, path)
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

return M

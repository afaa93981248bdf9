-- Drives wrk: wrk -s wrk.lua URL -- FOLDER NUM_PHOTOS. wrk.py writes the folder and reads its measured.json.
-- wrk gives each thread its own Lua; with one connection a thread, an answer belongs to the last request.

local ffi = require("ffi")
ffi.cdef [[
typedef struct { long s; long ns; } fruity_time;
int clock_gettime(int clock, fruity_time *now);
]]
local MONOTONIC = 1
local now = ffi.new("fruity_time")

local function now_ms()
  ffi.C.clock_gettime(MONOTONIC, now)
  return tonumber(now.s) * 1000 + tonumber(now.ns) / 1e6
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function read_set(path)
  local lines = {}
  for line in read(path):gmatch("[^\n]+") do lines[line] = true end
  return lines
end

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  folder, num_photos = args[1], tonumber(args[2])
  requests, rights, labels = {}, {}, read_set(folder .. "/labels")
  for i = 1, num_photos do
    local path = folder .. "/" .. i
    requests[i] = wrk.format("POST", nil, { ["Content-Type"] = read(path .. ".type") }, read(path .. ".body"))
    rights[i] = read_set(path .. ".label")
  end
  -- Each client starts with another photo, so that the mix is even from the beginning.
  current = number % num_photos
  latencies, errors = {}, {}
end

function request()
  current = current % num_photos + 1
  sent_ms = now_ms()
  return requests[current]
end

local function first_label(body)
  for text in body:gmatch('"([^"]*)"') do
    if labels[text] then return text end
  end
end

function response(status, headers, body)
  local took_ms = now_ms() - sent_ms
  local right = rights[current]
  local kind = nil
  if status ~= 200 then
    kind = tostring(status)
  elseif next(right) ~= nil and not right[first_label(body) or ""] then
    kind = "wrong label"
  end
  if kind then
    errors[kind] = (errors[kind] or 0) + 1
  else
    latencies[#latencies + 1] = string.format("%.3f", took_ms)
  end
end

function done(summary, latency, requests)
  local failed = summary.errors
  local counts = { connection = failed.connect + failed.read + failed.write, timeout = failed.timeout }
  local right = {}
  for _, thread in ipairs(threads) do
    for _, took_ms in ipairs(thread:get("latencies")) do right[#right + 1] = took_ms end
    for kind, count in pairs(thread:get("errors")) do counts[kind] = (counts[kind] or 0) + count end
  end
  local pairs_of_json = {}
  for kind, count in pairs(counts) do
    if count > 0 then table.insert(pairs_of_json, string.format('"%s":%d', kind, count)) end
  end
  local file = assert(io.open(threads[1]:get("folder") .. "/measured.json", "w"))
  file:write(string.format('{"seconds":%.6f,"latencies_ms":[%s],"errors":{%s}}',
    summary.duration / 1e6, table.concat(right, ","), table.concat(pairs_of_json, ",")))
  file:close()
end

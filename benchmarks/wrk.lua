-- Drives wrk: wrk -s wrk.lua URL -- FOLDER NUM_PHOTOS. wrk.py writes the folder and reads what is printed here.
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

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  local folder = args[1]
  num_photos, requests, rights, labels = tonumber(args[2]), {}, {}, {}
  for i = 1, num_photos do
    requests[i] = read(folder .. "/" .. i .. ".request")
    rights[i] = {}
    for spelling in read(folder .. "/" .. i .. ".label"):gmatch("[^\n]+") do rights[i][spelling] = true end
  end
  for spelling in read(folder .. "/labels"):gmatch("[^\n]+") do labels[spelling] = true end
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
  if status ~= 200 then
    errors[tostring(status)] = (errors[tostring(status)] or 0) + 1
  elseif next(right) ~= nil and not right[first_label(body) or ""] then
    errors["wrong label"] = (errors["wrong label"] or 0) + 1
  else
    latencies[#latencies + 1] = took_ms
  end
end

function done(summary, latency, requests)
  for _, thread in ipairs(threads) do
    for _, took_ms in ipairs(thread:get("latencies")) do print(string.format("fruity latency %.3f", took_ms)) end
    for kind, count in pairs(thread:get("errors")) do print("fruity error " .. count .. " " .. kind) end
  end
  local failed = summary.errors
  print("fruity error " .. (failed.connect + failed.read + failed.write) .. " connection")
  print("fruity error " .. failed.timeout .. " timeout")
  print(string.format("fruity seconds %.6f", summary.duration / 1e6))
end

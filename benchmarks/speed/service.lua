-- Posts one picture again and again, and counts the answers: run by service.py, through wrk.
local file = io.open(os.getenv("PICTURE"), "rb")
local wanted = '"text":"' .. os.getenv("TEXT") .. '"'
wrk.method = "POST"
wrk.path = "/solve"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "image/png"

local threads = {}
right, busy, wrong = 0, 0, 0 -- read by `done`, so they can't be local

function setup(thread)
  table.insert(threads, thread)
end

function response(status, _, body)
  if status == 200 and body:find(wanted, 1, true) then
    right = right + 1
  elseif status == 503 then
    busy = busy + 1
  else
    wrong = wrong + 1
  end
end

function done(summary, latency)
  local counts = { right = 0, busy = 0, wrong = 0 }
  for _, thread in ipairs(threads) do
    for name, count in pairs(counts) do
      counts[name] = count + thread:get(name)
    end
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"right": %d, "busy": %d, "wrong": %d, "lost": %d, "seconds": %.3f, "ms_50": %.3f, "ms_99": %.3f}\n',
    counts.right, counts.busy, counts.wrong, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end

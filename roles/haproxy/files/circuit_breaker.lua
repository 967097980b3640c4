-- The circuit breaker of the API's instances, loaded by haproxy.cfg. How it decides, and why: docs/operations/circuit-breaker.md.
--
-- An instance is ejected by the weight 0, which nobody else sets: what an operator drains is his, and stays as he left it.
-- Arguments: 5xx in a row (0: never), seconds of an ejection, percentage of all instances that may be ejected, the address under which
-- other hosts are asked, this host, and all hosts of the API in the inventory's order, separated by commas.

local arguments = table.pack(...)
local LIMIT, SECONDS, PERCENT = tonumber(arguments[1]), tonumber(arguments[2]), tonumber(arguments[3])
local QUESTION, SELF = arguments[4], arguments[5]
local HOSTS = core.tokenize(arguments[6], ",", true)
local BACKEND = "api"
local INTERVAL_MS, ANSWER_MS, SURVEY_SECONDS, RETRY_SECONDS = 50, 1000, 1, 0.3

local servers, names = {}, {}
local failures = {} -- by server: 5xx in a row
local ejected = {} -- by server: when it gets requests again
local wanted -- the server whose ejection is being decided
local survey_at, retry_at = 0, 0

local function now()
  local time = core.now()
  return time.sec + time.usec / 1000000
end

-- Its health check has passed and nobody has drained it. An ejected one is UP as well: its weight does not count here.
local function is_instance(name)
  local found = servers[name]:get_stats()
  return found["status"]:find("^UP") ~= nil and not tostring(found["check_status"]):find("INI")
end

-- This host's instances, and how many of them are ejected or about to be.
local function count()
  local instances, out = 0, 0
  for _, name in ipairs(names) do
    if is_instance(name) then
      instances = instances + 1
      if ejected[name] or name == wanted then
        out = out + 1
      end
    end
  end
  return instances, out
end

-- Another host's count. A host that does not answer has no instance that could be of use.
local function ask(host)
  local answer = core.httpclient():get({ url = QUESTION .. host, timeout = ANSWER_MS })
  local name, instances, out = (answer.body or ""):match("^(%S+) (%d+) (%d+)\n")
  if answer.status ~= 200 or name ~= host then
    return 0, 0
  end
  return tonumber(instances), tonumber(out)
end

-- By how many ejections the platform is over what is allowed, and how many of these are on hosts after this one.
local function survey()
  local all_instances, all_out, after = 0, 0, 0
  local passed_self = false
  for _, host in ipairs(HOSTS) do
    local instances, out
    if host == SELF then
      instances, out = count()
      passed_self = true
    else
      instances, out = ask(host)
      if passed_self then
        after = after + out
      end
    end
    all_instances, all_out = all_instances + instances, all_out + out
  end
  return all_out - all_instances * PERCENT // 100, after
end

local function rank()
  for index, host in ipairs(HOSTS) do
    if host == SELF then
      return index
    end
  end
end

local function restore(name, reason)
  ejected[name], failures[name] = nil, nil
  servers[name]:set_weight("100%")
  core.log(core.notice, string.format("circuit breaker: %s gets requests again: %s", name, reason))
end

-- First this host says what it wants, then it asks the others: of two that want at the same time at least one sees the other, whoever
-- sees too many takes its wish back, and the first of the inventory's order asks again soonest.
local function try_to_eject(name)
  wanted = name
  local excess = survey()
  wanted = nil
  if excess > 0 then
    retry_at = now() + RETRY_SECONDS * rank()
  elseif is_instance(name) and (failures[name] or 0) >= LIMIT then
    ejected[name] = now() + SECONDS
    servers[name]:set_weight("0%")
    core.log(core.warning, string.format("circuit breaker: %s is ejected for %d s: %d answers in a row were 5xx", name, SECONDS, failures[name]))
  end
end

local function tick()
  for _, name in ipairs(names) do
    if not is_instance(name) then
      -- Down, or an operator's: what comes back is another instance, or he has seen to it.
      failures[name] = nil
      if ejected[name] then
        restore(name, "it is down or drained")
      end
    elseif ejected[name] and now() >= ejected[name] then
      restore(name, "its time is over")
    end
  end
  -- Instances elsewhere may have gone since: the last hosts of the inventory's order give way first.
  if next(ejected) and now() >= survey_at then
    local excess, after = survey()
    excess = excess - after
    for _, name in ipairs(names) do
      if excess > 0 and ejected[name] then
        restore(name, "too many are ejected for those that are left")
        excess = excess - 1
      end
    end
    survey_at = now() + SURVEY_SECONDS
  end
  for _, name in ipairs(names) do
    if LIMIT > 0 and (failures[name] or 0) >= LIMIT and not ejected[name] and now() >= retry_at then
      try_to_eject(name)
    end
  end
end

-- On answers of an instance only: what HAProxy answers itself does not pass here.
core.register_action("circuit_breaker_count", { "http-res" }, function(txn)
  local name = txn.sf:srv_name()
  if (tonumber(txn.sf:status()) or 0) >= 500 then
    failures[name] = (failures[name] or 0) + 1
  else
    failures[name] = nil
  end
end)

core.register_service("circuit_breaker", "http", function(applet)
  local body = string.format("%s %d %d\n", SELF, count())
  applet:set_status(200)
  applet:add_header("content-type", "text/plain")
  applet:add_header("content-length", tostring(#body))
  applet:start_response()
  applet:send(body)
end)

core.register_cli({ "show", "circuit-breaker" }, "show circuit-breaker : ejected servers, and in how many seconds they get requests again", function(applet)
  local lines = {}
  for _, name in ipairs(names) do
    if ejected[name] then
      lines[#lines + 1] = string.format("%s %d\n", name, math.ceil(math.max(0, ejected[name] - now())))
    end
  end
  applet:send(table.concat(lines) .. "\n")
end)

core.register_task(function()
  for name, server in pairs(core.backends[BACKEND].servers) do
    servers[name], names[#names + 1] = server, name
    -- A reload takes the weights of before over (server-state-file): it begins with every instance in.
    server:set_weight("100%")
  end
  table.sort(names)
  while true do
    local good, message = pcall(tick)
    if good then
      core.msleep(INTERVAL_MS)
    else
      wanted = nil
      core.log(core.err, "circuit breaker: " .. tostring(message))
      core.msleep(1000)
    end
  end
end)

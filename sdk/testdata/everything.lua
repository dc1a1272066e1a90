-- A handler that has something for each function of the engine: what a line says, it does.

-- What precedes a message, as string.unpack reads it.
local lengths = { u8 = "B", u16be = ">I2", u16le = "<I2", u32be = ">I4", u32le = "<I4" }

-- The first message of the kind that frames names, from at on, and where the next one begins; nil
-- while it is not all there.
local function message(frames, b, at)
  local format = lengths[frames]
  if format then
    local size = string.packsize(format)
    if #b < at - 1 + size then return nil end
    local n = string.unpack(format, b, at)
    assert(n <= 100, "the message is too long")
    if #b < at - 1 + size + n then return nil end
    return b:sub(at + size, at + size + n - 1), at + size + n
  end
  if frames == "fixed5" then
    if #b < at + 4 then return nil end
    return b:sub(at, at + 4), at + 5
  end
  local delimiter = frames == "until--" and "--" or "\n"
  local first, last = b:find(delimiter, at, true)
  assert((first or #b + 2 - #delimiter) - at <= 100, "the message is too long")
  if not first then return nil end
  return b:sub(at, first - 1), last + 1
end

-- Relays, as soon as what was sent to the client has left.
local function join(c)
  c.joins = false
  local joined, err = pcall(c.splice, c, c.up)
  if not joined then
    assert(tostring(err):find("AGAIN", 1, true), err)
    c.joins = true -- in writable
  end
end

local function secured(c, result)
  log.info("secured", result)
  c:send("secured " .. result .. "\n")
end

-- Dials for a client, and passes on what comes, or relays.
local function call(c, address, relays)
  local up, _, code = dial(address, {
    data = function(_, bytes) c:send(bytes) end,
    eof = function(up)
      up:send("over after 0\n")
      up:close()
    end,
    secured = function(_, result) secured(c, result) end,
    closed = function(_, reason) c:send("upstream " .. reason .. "\n") end,
  })
  if not up then
    c:send("upstream " .. code .. "\n")
    return
  end
  c.up = up
  c:send("up, from " .. tostring(up.local_address == "") .. "\n")
  if relays then join(c) end
end

local words = {
  config = function(c) c:send(json.encode(config) .. "\n") end,
  peer = function(c) c:send(c.peer .. " " .. c.transport .. " " .. c.certificate .. "\n") end,
  lines = function(c) c:send(c.lines .. "\n") end,
  timer = function(c, ms) c:timer(1, tonumber(ms)) end,
  clear = function(c) c:timer(1, -1) end,
  log = function(_, what) log.warn(what) end,
  count = function(_, name) count(name, 2) end,
  clock = function(c) c:send(tostring(os.time() > os.clock()) .. "\n") end,
  random = function(c) c:send(tostring(random_bytes(32) ~= ("\0"):rep(32)) .. "\n") end,
  frames = function(c, kind) c.frames = kind end,
  want = function(c, n)
    c.wanted = tonumber(n)
    return true
  end,
  pause = function(c, ms)
    c:timer(2, tonumber(ms))
    c:pause()
    return true
  end,
  tls = function(c)
    c:secure("server")
    return true
  end,
  dial = function(c, address) spawn(call, c, address, false) end,
  relay = function(c, address)
    spawn(call, c, address, true)
    return true
  end,
  up = function(c, what) c.up:send(what .. "\n") end,
  upgrade = function(c, name) c.up:secure("client", name) end,
  half = function(c) c:finish() end,
  quit = function(c)
    c:close()
    return true
  end,
  abort = function(c)
    c:abort()
    return true
  end,
  panic = function(_, what) error("it was told to: " .. what) end,
}

return {
  open = function(c)
    c.lines, c.frames, c.wanted = 0, "", 0
    c:send("hello\n")
    after(60000, function() log.info("instance timer 7") end)
  end,

  data = function(c, bytes)
    if #bytes < c.wanted then return 0 end
    c.wanted = 0
    local at = 1
    while true do
      local text, next = message(c.frames, bytes, at)
      if not text then return at - 1 end
      at = next
      if c.frames ~= "" then
        if text == "lines" then c.frames = "" else text = "[" .. text .. "]" end
        c:send(text .. "\n")
      else
        c.lines = c.lines + 1
        local word, rest = text:match("^(%S*) ?(.*)$")
        local does = words[word]
        if not does then c:send("?\n") elseif does(c, rest) then return at - 1 end
      end
    end
  end,

  writable = function(c)
    if c.joins then join(c) end
  end,

  secured = secured,

  timer = function(c, token)
    if token == 2 then
      c:resume()
      c:send("resumed\n")
    else
      c:send("timer " .. token .. "\n")
    end
  end,

  eof = function(c)
    c:send("over after " .. c.lines .. "\n")
    c:close()
  end,
}

-- The protocol of GT06 and the many trackers that speak as it does: gt06.js, in Lua.
--
--   78 78  length (1)  protocol  content  serial (2)  CRC (2)  0d 0a
--   79 79  length (2)  protocol  content  serial (2)  CRC (2)  0d 0a

local LOGIN_WITHIN = 30000 -- milliseconds
local LOGIN_TIMER = 1
local MOST_LONG = 1024 -- bytes that a long frame may count
local MOST_BAD = 10 -- frames with a wrong CRC, in one connection

local LOGIN, POSITION, HEARTBEAT, ALARM, INFORMATION = 0x01, 0x12, 0x13, 0x16, 0x94

local alarms = { [0] = "none", "SOS", "power cut", "shock", "into the fence", "out of the fence", "too fast" }

-- Takes the frame that begins at a place, or nothing when it has not come whole.
local function frame_at(b, at)
  if #b - at + 1 < 5 then return nil end
  local start = string.unpack(">I2", b, at)
  if start ~= 0x7878 and start ~= 0x7979 then
    error(string.format("a frame begins with %04x, and not with 7878 or 7979", start))
  end
  local length, from = string.unpack(start == 0x7878 and "B" or ">I2", b, at + 2)
  if length < 5 or length > MOST_LONG then error("a frame says that it has " .. length .. " bytes") end
  local behind = from + length + 2
  if #b < behind - 1 then return nil end
  if b:sub(behind - 2, behind - 1) ~= "\r\n" then error("a frame does not end in 0d 0a") end
  local serial, sum = string.unpack(">I2I2", b, behind - 6)
  return {
    behind = behind,
    serial = serial,
    whole = crc.x25(b:sub(at + 2, behind - 5)) == sum,
    protocol = b:byte(from),
    content = b:sub(from + 1, behind - 7),
  }
end

local function answer(c, frame)
  local said = string.pack(">BBI2", 5, frame.protocol, frame.serial)
  c:send("\x78\x78" .. said .. string.pack(">I2", crc.x25(said)) .. "\r\n")
end

-- Time and place, with which positions and alarms begin: 18 bytes.
local function place(content)
  local year, month, day, hour, minute, second, satellites, latitude, longitude, speed, course =
    string.unpack(">BBBBBBBI4I4BI2", content)
  if course & 0x0400 == 0 then latitude = -latitude end -- south
  if course & 0x0800 ~= 0 then longitude = -longitude end -- west
  return string.format(
    "at=20%02d-%02d-%02dT%02d:%02d:%02dZ latitude=%.6f longitude=%.6f speed=%d course=%d satellites=%d fixed=%s",
    year, month, day, hour, minute, second, latitude / 1800000, longitude / 1800000, speed, course & 0x03ff,
    satellites & 15, course & 0x1000 ~= 0
  )
end

local messages = {
  [LOGIN] = function(c, frame)
    if #frame.content < 8 then error("a login has no IMEI") end
    local imei = hex.encode(frame.content:sub(1, 8)):sub(2) -- 15 digits, two a byte
    if not imei:match("^%d+$") then error("the IMEI of a login has other digits than 0 to 9") end
    c.imei = imei
    c:timer(LOGIN_TIMER, -1)
    answer(c, frame)
    log("login", imei)
  end,
  [HEARTBEAT] = function(c, frame)
    local state, voltage, signal = string.unpack("BBB", frame.content)
    answer(c, frame)
    log("heartbeat", c.imei, string.format("state=%x voltage=%d signal=%d", state, voltage, signal))
  end,
  [POSITION] = function(c, frame)
    count("gt06_positions")
    log("position", c.imei, place(frame.content))
  end,
  [ALARM] = function(c, frame)
    local kind = string.unpack("B", frame.content, #frame.content - 1)
    count("gt06_alarms")
    answer(c, frame)
    log.warn("alarm", c.imei, string.format("kind=%q", alarms[kind] or tostring(kind)), place(frame.content))
  end,
  [INFORMATION] = function(c, frame)
    log("information", c.imei, string.format("kind=%d content=%s", frame.content:byte(), hex.encode(frame.content:sub(2))))
  end,
}

local function hear(c, frame)
  if not frame.whole then
    count("gt06_bad_frames")
    c.bad = (c.bad or 0) + 1
    if c.bad > MOST_BAD then error("more than " .. MOST_BAD .. " frames have a wrong CRC") end
    return -- the tracker sends it again
  end
  if not c.imei and frame.protocol ~= LOGIN then error("a tracker says something before its login") end
  local message = messages[frame.protocol] -- those that are not known need no answer
  if message then message(c, frame) end
end

return {
  open = function(c)
    c:timer(LOGIN_TIMER, LOGIN_WITHIN)
  end,
  -- It answers how many bytes it has used; the beginning of a frame comes again with its end.
  data = function(c, b)
    local at = 1
    local frame = frame_at(b, at)
    while frame do
      hear(c, frame)
      at = frame.behind
      frame = frame_at(b, at)
    end
    return at - 1
  end,
  timer = function(c)
    log("no login from", c.peer)
    c:close()
  end,
}

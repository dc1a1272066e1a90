return {
  open = function(c) c:send("What is your name?\r\n") end,
  line = function(c, text)
    if text == "quit" then return c:close() end
    if c.name then return c:send(c.name .. " says " .. text .. "\r\n") end
    c.name = text
    c:send("Hello, " .. text .. "!\r\n")
  end,
}

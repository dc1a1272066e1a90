-- Answers each line with that line.
return {
  line = function(c, text) c:send(text .. "\n") end,
}

-- It keeps what it is given wherever it can, and says all that it has.
local given, kept, text = {}, {}, ""
local endings = {}
function endings.stay() end
function endings.close(c) c:close() end
function endings.abort(c) c:abort() end
function endings.throw() local x; x.y = 1 end
function endings.spin() while true do end end
function endings.hog() while true do given[#given + 1] = given[1]:rep(100) .. #given end end
function endings.recursion(c) return endings.recursion(c, given[1] .. "x") + 1 end
function endings.later(c) after(0, function() error(c.canary) end) end
return { line = function(c, what)
  local canary, ending = what:match("^(%S*) (%S+)$")
  if canary ~= "" then
    given[#given + 1] = canary
    kept[canary] = canary:rep(3)
    text = text .. canary
    c.canary = canary
    log(canary)
  end
  local keys = {}
  for key in pairs(kept) do keys[#keys + 1] = key end
  c:send(table.concat({ config.secret, table.concat(given, ","), table.concat(keys, ","), text }, " ") .. "\n")
  endings[ending](c)
end }

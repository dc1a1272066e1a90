-- A script that says all it knows, beside a hostile one on the same engine.
local all, asked = {}, 0
for i = 1, 200 do all[i] = config.secret .. i end
local names = 0
for _ in pairs(_G) do names = names + 1 end
return { line = function(c)
  count("asked")
  log(config.secret)
  asked = asked + 1
  local others, now = {}, 0
  for i = 1, 200 do if all[i] ~= config.secret .. i then others[#others + 1] = all[i] end end
  for _ in pairs(_G) do now = now + 1 end
  if now ~= names then others[#others + 1] = "globals" end
  c:send(table.concat({ config.secret, c.tenant, asked, table.concat(others, ",") }, " ") .. "\n")
end }

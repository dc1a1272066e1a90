-- What a script does to harm others: what it is told to, in the callback that it is told to.
local harm = {}
function harm.spin() while true do end end
function harm.throw() local x; x.y = 1 end
function harm.arrays() local all = {} while true do all[#all + 1] = {} end end
function harm.texts() local all = "x" while true do all = all .. all end end
function harm.recursion() return harm.recursion() + 1 end
function harm.search() return ("a"):rep(64):find(("a-"):rep(32) .. "b") end
function harm.sends(c) while true do c:send(("x"):rep(65536)) end end
function harm.logs() while true do log("flood") end end
function harm.counts() local i = 0 while true do i = i + 1 count("n" .. i) end end
function harm.timeouts() while true do after(1000000, print) end end
function harm.timers(c) local i = 0 while true do i = i + 1 c:timer(i, 1000000) end end
function harm.dials() while true do spawn(dial, "tcp://127.0.0.1:1") end end
function harm.forbidden() assert(dial("tcp://192.0.2.1:1")) end
function harm.nesting() json.decode(("["):rep(1000000)) end
function harm.wide() json.decode("[" .. ("0,"):rep(1000000) .. "0]") end
function harm.cycle() local a = {} a[1] = a json.encode(a) end
function harm.tasks() local function again() return spawn(again) end again() end
local function at(c, where) if c.where == where then harm[c.what](c) end end
return {
  start = function(config) if config.start then harm[config.start]() end end,
  open = function(c) if config.open then harm[config.open](c) end end,
  line = function(c, text)
    c.what, c.where = text:match("^(%S+) ?(.*)")
    if text == "?" then return c:send("tame\n") end
    if c.where == "timer" then c:timer(1, 0) end
    if c.where == "later" then after(0, function() at(c, "later") end) end
    if c.where == "writable" then c:send(("x"):rep(200000)) end
    if c.where == "closed" then c:close() end
    at(c, "line")
  end,
  eof = function(c) at(c, "eof") c:close() end,
  timer = function(c) at(c, "timer") end,
  writable = function(c) at(c, "writable") end,
  closed = function(c) at(c, "closed") end,
}

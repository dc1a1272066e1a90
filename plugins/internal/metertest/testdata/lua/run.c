// Lua without a host around it: run(n) runs the program of that number, and returns the integer
// that it returns, or a negative number.
#include <stdlib.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

static const char *const programs[] = {
	// 0: calls
	"local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end return fib(20)",
	// 1: floating-point numbers in tables
	"local function a(i, j) local ij = i + j - 1 return 1.0 / (ij * (ij - 1) * 0.5 + i) end\n"
	"local function av(x, y, n) for i = 1, n do local s = 0 for j = 1, n do s = s + x[j] * a(i, j) end y[i] = s end end\n"
	"local n, u, v = 50, {}, {} for i = 1, n do u[i] = 1 end\n"
	"for i = 1, 4 do av(u, v, n) av(v, u, n) end return math.floor(u[1] * 1e6)",
	// 2: memory and its collection
	"local function tree(d) if d == 0 then return {} end return {tree(d - 1), tree(d - 1)} end\n"
	"local function count(t) if not t[1] then return 1 end return 1 + count(t[1]) + count(t[2]) end\n"
	"local n = 0 for i = 1, 12 do n = n + count(tree(8)) end return n",
	// 3: sorting with a function to compare
	"local t, x = {}, 42 for i = 1, 1500 do x = (x * 1103515245 + 12345) % 2147483648 t[i] = x end\n"
	"table.sort(t, function(a, b) return a > b end) for i = 2, #t do assert(t[i - 1] >= t[i]) end return t[1] % 1000",
	// 4: text
	"local t = {} for i = 1, 600 do t[#t + 1] = string.format('%d:%s:%5.2f', i, ('x'):rep(i % 7), i / 3) end\n"
	"return #table.concat(t, ',')",
	// 5: patterns
	"local s = ('key=value; other = 12, x=y '):rep(40) local n = 0\n"
	"for k, v in s:gmatch('(%w+)%s*=%s*(%w+)') do n = n + #k * #v end\n"
	"return n + #s:gsub('%s+', ' ') + #s:upper():gsub('KEY', function(k) return k:lower() end)",
	// 6: objects with metatables and closures
	"local P = {} P.__index = P P.__add = function(a, b) return setmetatable({x = a.x + b.x}, P) end\n"
	"function P.step(s, f) s.x = f(s.x) return s end local p = setmetatable({x = 1}, P)\n"
	"for i = 1, 3000 do local k = i % 5 p = p + setmetatable({x = k}, P):step(function(x) return x + k end) end return p.x",
	// 7: coroutines
	"local function numbers(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end\n"
	"local s = 0 for i in numbers(2000) do s = s + i end return s",
	// 8: calls that are protected
	"local s = 0 for i = 1, 3000 do local ok, v = pcall(function(x) return x + 1 end, i) if ok then s = s + v end end return s",
	// 9: compiling
	"local s = 0 for i = 1, 60 do s = s + load('local a, b = ' .. i .. ', {1, 2, x = {3}} if a > 1 then return a + b.x[1] else return #b end')() end return s",
};

static int start(lua_State *l)
{
	static const luaL_Reg libraries[] = {
		{LUA_GNAME, luaopen_base}, {LUA_COLIBNAME, luaopen_coroutine}, {LUA_TABLIBNAME, luaopen_table},
		{LUA_STRLIBNAME, luaopen_string}, {LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8},
	};
	for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
		luaL_requiref(l, libraries[i].name, libraries[i].func, 1);
		lua_pop(l, 1);
	}
	return 0;
}

__attribute__((export_name("programs"))) int count(void) { return sizeof programs / sizeof *programs; }

__attribute__((export_name("run"))) int run(int program)
{
	lua_State *l = luaL_newstate();
	int result = -2;
	if (!l)
		return -1;
	lua_pushcfunction(l, start);
	if (lua_pcall(l, 0, 0, 0) == LUA_OK && luaL_dostring(l, programs[program]) == LUA_OK)
		result = (int)lua_tointeger(l, -1);
	lua_close(l);
	return result;
}

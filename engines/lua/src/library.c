/* What scripts have besides the language. */
#include <string.h>

#include "engine.h"

/* --- Log and metrics ------------------------------------------------------------- */

/* Logs its arguments as text, with a blank between two. The level is an upvalue. */
static int l_log(lua_State *l)
{
	char line[CSA_MAX_LOG_LINE];
	size_t n = 0, length;
	int i, top = lua_gettop(l);

	for (i = 1; i <= top; i++) {
		const char *s = luaL_tolstring(l, i, &length);

		if (i > 1 && n < sizeof line)
			line[n++] = ' ';
		if (length > sizeof line - n)
			length = sizeof line - n;
		memcpy(line + n, s, length);
		n += length;
		lua_pop(l, 1);
	}
	csa_v1_log((int32_t)lua_tointeger(l, lua_upvalueindex(1)), line, (int32_t)n);
	return 0;
}

static void push_log(int level)
{
	lua_pushinteger(L, level);
	lua_pushcclosure(L, l_log, 1);
}

static int call_log(lua_State *l)
{
	lua_remove(l, 1); /* the table */
	return l_log(l);
}

/* log("...") is log.info("..."), and so is print. */
static void define_log(void)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	int i;

	lua_newtable(L);
	for (i = CSA_LOG_DEBUG; i <= CSA_LOG_ERROR; i++) {
		push_log(i);
		lua_setfield(L, -2, names[i]);
	}
	lua_newtable(L);
	lua_pushinteger(L, CSA_LOG_INFO);
	lua_pushcclosure(L, call_log, 1);
	lua_setfield(L, -2, "__call");
	lua_setmetatable(L, -2);
	lua_setglobal(L, "log");
	push_log(CSA_LOG_INFO);
	lua_setglobal(L, "print");
}

static int l_count(lua_State *l)
{
	size_t length;
	const char *name = luaL_checklstring(l, 1, &length);
	int32_t code = csa_v1_count(name, (int32_t)length, luaL_optinteger(l, 2, 1));

	if (code < 0)
		luaL_error(l, "count: %s", code_name(code));
	return 0;
}

/* --- Bytes ------------------------------------------------------------------------ */

const uint8_t *bytes_of(lua_State *l, int at, size_t *length)
{
	return (const uint8_t *)luaL_checklstring(l, at, length);
}

static int l_base64_encode(lua_State *l)
{
	size_t length;
	const uint8_t *p = bytes_of(l, 1, &length);
	luaL_Buffer b;

	luaL_pushresultsize(&b, base64_encode(p, length, luaL_buffinitsize(l, &b, BASE64_ROOM(length))));
	return 1;
}

static int l_base64_decode(lua_State *l)
{
	size_t length;
	const uint8_t *p = bytes_of(l, 1, &length);
	luaL_Buffer b;
	ptrdiff_t n = base64_decode(p, length, (uint8_t *)luaL_buffinitsize(l, &b, length / 4 * 3 + 3));

	if (n < 0)
		return luaL_error(l, "%s", problem);
	luaL_pushresultsize(&b, (size_t)n);
	return 1;
}

static int l_hex_encode(lua_State *l)
{
	size_t length;
	const uint8_t *p = bytes_of(l, 1, &length);
	luaL_Buffer b;

	hex_encode(p, length, luaL_buffinitsize(l, &b, 2 * length));
	luaL_pushresultsize(&b, 2 * length);
	return 1;
}

static int l_hex_decode(lua_State *l)
{
	size_t length;
	const uint8_t *p = bytes_of(l, 1, &length);
	luaL_Buffer b;
	ptrdiff_t n = hex_decode(p, length, (uint8_t *)luaL_buffinitsize(l, &b, length / 2));

	if (n < 0)
		return luaL_error(l, "%s", problem);
	luaL_pushresultsize(&b, (size_t)n);
	return 1;
}

static int l_crc(lua_State *l)
{
	size_t length;
	const uint8_t *p = bytes_of(l, 1, &length);

	lua_pushinteger(l, crc_of((enum crc)lua_tointeger(l, lua_upvalueindex(1)), p, length));
	return 1;
}

static int l_random_bytes(lua_State *l)
{
	lua_Integer n = luaL_checkinteger(l, 1);
	luaL_Buffer b;

	if (n < 0 || n > WINDOW)
		return luaL_error(l, "random_bytes gives 0 to %d bytes", WINDOW);
	csa_v1_random(luaL_buffinitsize(l, &b, (size_t)n), (int32_t)n);
	luaL_pushresultsize(&b, (size_t)n);
	return 1;
}

/* --- The rest ----------------------------------------------------------------------- */

/* os.clock(): seconds of a clock that is never set. */
static int l_clock(lua_State *l)
{
	lua_pushnumber(l, (lua_Number)csa_v1_clock(CSA_CLOCK_MONOTONIC) / 1e9);
	return 1;
}

static const luaL_Reg globals[] = {
	{"count", l_count},
	{"random_bytes", l_random_bytes},
	{NULL, NULL},
};
static const luaL_Reg base64[] = {{"encode", l_base64_encode}, {"decode", l_base64_decode}, {NULL, NULL}};
static const luaL_Reg hex[] = {{"encode", l_hex_encode}, {"decode", l_hex_decode}, {NULL, NULL}};

static void open_library(const char *name, lua_CFunction open)
{
	luaL_requiref(L, name, open, 1);
	lua_pop(L, 1);
}

/* Takes functions out of a global table that need what a guest does not have. */
static void take_out(const char *table, const char *const *names)
{
	lua_getglobal(L, table);
	for (; *names; names++) {
		lua_pushnil(L);
		lua_setfield(L, -2, *names);
	}
	lua_pop(L, 1);
}

static const char *crc_name(int i) { return crc_names[i]; }

/* Sets a field of the table on the top to a table of n functions. Their upvalues are their
 * numbers. */
void define_all(const char *table, lua_CFunction f, const char *(*name)(int), int n)
{
	int i;

	lua_newtable(L);
	for (i = 0; i < n; i++) {
		lua_pushinteger(L, i);
		lua_pushcclosure(L, f, 1);
		lua_setfield(L, -2, name(i));
	}
	lua_setfield(L, -2, table);
}

void define_library(void)
{
	open_library(LUA_GNAME, luaopen_base);
	open_library(LUA_STRLIBNAME, luaopen_string);
	open_library(LUA_TABLIBNAME, luaopen_table);
	open_library(LUA_MATHLIBNAME, luaopen_math);
	open_library(LUA_UTF8LIBNAME, luaopen_utf8);
	open_library(LUA_COLIBNAME, luaopen_coroutine);
	open_library(LUA_OSLIBNAME, luaopen_os);
	take_out(LUA_GNAME, (const char *const[]){"dofile", "loadfile", NULL});
	take_out(LUA_OSLIBNAME, (const char *const[]){"execute", "exit", "getenv", "remove", "rename", "setlocale", "tmpname", NULL});
	lua_getglobal(L, LUA_OSLIBNAME);
	lua_pushcfunction(L, l_clock);
	lua_setfield(L, -2, "clock");
	lua_pushglobaltable(L);
	luaL_setfuncs(L, globals, 0);
	luaL_newlib(L, base64);
	lua_setfield(L, -2, "base64");
	luaL_newlib(L, hex);
	lua_setfield(L, -2, "hex");
	define_all("crc", l_crc, crc_name, CRCS);
	define_hashes();
	lua_settop(L, 0);
	define_log();
}

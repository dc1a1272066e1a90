/* Loads the script, and the files that it requires. */

#include "engine.h"

/* Pushes the function that a file's text is. A first line that begins with # is none of it, as
 * with Lua's own program. */
static void load_text(lua_State *l, const struct file *f)
{
	const char *text = f->text;
	size_t length = f->length;

	lua_pushlstring(l, f->path, f->path_length);
	lua_pushfstring(l, "@%s", lua_tostring(l, -1));
	lua_remove(l, -2);
	if (length > 0 && text[0] == '#')
		while (length > 0 && text[0] != '\n') {
			text++;
			length--;
		}
	if (luaL_loadbufferx(l, text, length, lua_tostring(l, -1), "t") != LUA_OK)
		lua_error(l);
	lua_remove(l, -2);
}

/* Pushes the function that the script is. */
void load_main(lua_State *l, const char *name, const char *text, size_t length)
{
	struct file f;

	if (!main_file(name, text, length, &f))
		luaL_error(l, "%s: the script is not as the host makes it of several files; build it again", name);
	load_text(l, &f);
}

static char being_loaded; /* its address stands for what a file returns that has not returned yet */

/* require(name): what the file returns, or true. It runs once. */
static int l_require(lua_State *l)
{
	size_t length;
	const char *name = luaL_checklstring(l, 1, &length);
	struct file f;

	lua_settop(l, 1);
	lua_getfield(l, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	if (lua_getfield(l, 2, name) == LUA_TLIGHTUSERDATA && lua_touserdata(l, -1) == &being_loaded)
		return luaL_error(l, "require of '%s': it is being loaded already, as files require each other in a circle, "
			"or it has failed before; let one of them require the other inside of a function", name);
	if (!lua_isnil(l, -1))
		return 1;
	lua_pop(l, 1);
	if (!find_file(name, length, &f))
		return luaL_error(l, "require of '%s': no such file was put into the script: that is done for a name which stands "
			"in it as text; write, for example: require \"lib.parse\"", name);
	lua_pushlightuserdata(l, &being_loaded);
	lua_setfield(l, 2, name);
	load_text(l, &f);
	lua_pushvalue(l, 1);
	lua_pushlstring(l, f.path, f.path_length);
	lua_call(l, 2, 1);
	if (lua_isnil(l, -1))
		lua_pushboolean(l, 1);
	lua_pushvalue(l, -1);
	lua_setfield(l, 2, name);
	return 1;
}

void define_require(void)
{
	lua_register(L, "require", l_require);
}

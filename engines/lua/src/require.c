/* Loads the script, and the files that it requires. The host has put those into the script,
 * behind it: see lua.go of the Go package engines/bundle. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

/* What a script of several files begins with. Each file follows: a line with the length of its
 * text, the name that it is required by, and its path; then the text, and the end of a line.
 * The first file is the script itself, whose name is "-". */
#define MARK "\x1b" "files\n"

struct file {
	const char *name, *path, *text;
	size_t name_length, path_length, length;
};

/* The files behind the first one. They stay where the host has put them. */
static const char *files, *files_end;

/* Reads the file at *at, and goes on behind it. False: there is none. */
static bool next_file(const char **at, const char *end, struct file *f)
{
	const char *line_end = memchr(*at, '\n', (size_t)(end - *at)), *blank;
	char *after;

	if (!line_end)
		return false;
	f->length = strtoul(*at, &after, 10);
	if (*after != ' ' || after > line_end)
		return false;
	f->name = after + 1;
	blank = memchr(f->name, ' ', (size_t)(line_end - f->name));
	if (!blank)
		return false;
	f->name_length = (size_t)(blank - f->name);
	f->path = blank + 1;
	f->path_length = (size_t)(line_end - f->path);
	f->text = line_end + 1;
	if (f->length >= (size_t)(end - f->text))
		return false;
	*at = f->text + f->length + 1;
	return true;
}

static bool find_file(const char *name, size_t length, struct file *f)
{
	const char *at = files;

	while (files && next_file(&at, files_end, f))
		if (f->name_length == length && memcmp(f->name, name, length) == 0)
			return true;
	return false;
}

/* Pushes the function that a file's text is. A first line that begins with # is none of it, as
 * with Lua's own program. */
static void load_text(lua_State *l, const char *path, size_t path_length, const char *text, size_t length)
{
	lua_pushlstring(l, path, path_length);
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
	const char *at = text + sizeof MARK - 1, *end = text + length;
	struct file f;

	if (length < sizeof MARK || memcmp(text, MARK, sizeof MARK - 1) != 0) {
		load_text(l, name, strlen(name), text, length);
		return;
	}
	if (!next_file(&at, end, &f))
		luaL_error(l, "%s: the script is not as the host makes it of several files; build it again", name);
	files = at;
	files_end = end;
	load_text(l, f.path, f.path_length, f.text, f.length);
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
	load_text(l, f.path, f.path_length, f.text, f.length);
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

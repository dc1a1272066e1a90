/* json.encode and json.decode. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define DEPTH 100

static char array_mark; /* its address is the key of the metatable of arrays that may be empty */

/* --- Text that is being made ----------------------------------------------------- */

/* There is one: neither function calls the script. It stays when an error ends one of them,
 * and is used again. */
static struct {
	char *p;
	size_t length, room;
} made;

static void room_for(lua_State *l, size_t more)
{
	if (more > made.room - made.length) {
		size_t room = (made.length + more) * 3 / 2 + 256;
		char *p = realloc(made.p, room);

		if (!p)
			luaL_error(l, "not enough memory");
		made.p = p;
		made.room = room;
	}
}

static void add(lua_State *l, const char *p, size_t length)
{
	room_for(l, length);
	memcpy(made.p + made.length, p, length);
	made.length += length;
}

static void add_char(lua_State *l, char c)
{
	add(l, &c, 1);
}

/* Pushes what is made behind a place, and takes it away. */
static void push_made(lua_State *l, size_t from)
{
	lua_pushlstring(l, made.p + from, made.length - from);
	made.length = from;
	if (from == 0 && made.room > 4096) {
		free(made.p);
		made.p = NULL;
		made.room = 0;
	}
}

/* --- Encoding --------------------------------------------------------------------- */

/* How many bytes the first character of UTF-8 has; 0: it is none. */
static size_t character(const uint8_t *p, size_t length)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0, i;

	if (n == 0 || n > length)
		return 0;
	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static void encode_text(lua_State *l, const char *text, size_t length)
{
	static const char escapes[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	const uint8_t *p = (const uint8_t *)text;
	size_t i, n;

	add_char(l, '"');
	for (i = 0; i < length; i += n) {
		const char *escape;
		char code[8];

		n = character(p + i, length - i);
		if (n == 0) {
			add(l, "\xef\xbf\xbd", 3); /* U+FFFD: JSON is UTF-8 */
			n = 1;
		} else if (p[i] != 0 && (escape = strchr(escapes, p[i])) && (escape - escapes) % 2 == 0) {
			add_char(l, '\\');
			add_char(l, escape[1]);
		} else if (p[i] < 0x20 || p[i] == 0x7f) {
			snprintf(code, sizeof code, "\\u%04x", p[i]);
			add(l, code, 6);
		} else
			add(l, text + i, n);
	}
	add_char(l, '"');
}

struct key {
	const char *p;
	size_t length;
};

static int compare_keys(const void *a, const void *b)
{
	const struct key *x = a, *y = b;
	int order = memcmp(x->p, y->p, x->length < y->length ? x->length : y->length);

	return order ? order : x->length < y->length ? -1 : x->length > y->length;
}

static void encode(lua_State *l, int depth);

/* Encodes the object on the top, whose keys are in order, so that it is the same each time. */
static void encode_object(lua_State *l, size_t keys, int depth)
{
	/* Lua's collector has the keys, also when an error ends this. */
	struct key *all = lua_newuserdatauv(l, keys * sizeof *all, 0);
	size_t i = 0;

	lua_pushnil(l);
	while (lua_next(l, -3)) {
		all[i].p = lua_tolstring(l, -2, &all[i].length);
		i++;
		lua_pop(l, 1);
	}
	qsort(all, keys, sizeof *all, compare_keys);
	add_char(l, '{');
	for (i = 0; i < keys; i++) {
		if (i > 0)
			add_char(l, ',');
		encode_text(l, all[i].p, all[i].length);
		add_char(l, ':');
		lua_pushlstring(l, all[i].p, all[i].length);
		lua_rawget(l, -3);
		encode(l, depth + 1);
		lua_pop(l, 1);
	}
	add_char(l, '}');
	lua_pop(l, 1);
}

static bool is_marked(lua_State *l)
{
	bool is;

	if (!lua_getmetatable(l, -1))
		return false;
	lua_rawgetp(l, LUA_REGISTRYINDEX, &array_mark);
	is = lua_rawequal(l, -1, -2);
	lua_pop(l, 2);
	return is;
}

static void encode_table(lua_State *l, int depth)
{
	size_t texts = 0, numbers = 0, n = lua_rawlen(l, -1), i;

	lua_pushnil(l);
	while (lua_next(l, -2)) {
		lua_pop(l, 1);
		if (lua_type(l, -1) == LUA_TSTRING)
			texts++;
		else if (lua_isinteger(l, -1) && lua_tointeger(l, -1) >= 1 && (lua_Unsigned)lua_tointeger(l, -1) <= n)
			numbers++;
		else
			luaL_error(l, "json.encode: a table has either the keys 1 to n, for an array, or text, for an object; this one has the key %s", luaL_tolstring(l, -1, NULL));
	}
	if (texts > 0 && numbers > 0)
		luaL_error(l, "json.encode: a table has either the keys 1 to n, for an array, or text, for an object; this one has both");
	if (numbers == 0 && !is_marked(l)) {
		encode_object(l, texts, depth);
		return;
	}
	add_char(l, '[');
	for (i = 1; i <= numbers; i++) {
		if (i > 1)
			add_char(l, ',');
		lua_rawgeti(l, -1, (lua_Integer)i);
		encode(l, depth + 1);
		lua_pop(l, 1);
	}
	add_char(l, ']');
}

/* Encodes the value on the top. */
static void encode(lua_State *l, int depth)
{
	char number[32];
	const char *text;
	size_t length;
	lua_Number v;

	if (depth > DEPTH)
		luaL_error(l, "json.encode: tables are %d deep, or one is in itself", DEPTH);
	luaL_checkstack(l, 8, "json.encode");
	switch (lua_type(l, -1)) {
	case LUA_TNIL:
		add(l, "null", 4);
		return;
	case LUA_TBOOLEAN:
		if (lua_toboolean(l, -1))
			add(l, "true", 4);
		else
			add(l, "false", 5);
		return;
	case LUA_TNUMBER:
		if (lua_isinteger(l, -1)) {
			add(l, number, (size_t)snprintf(number, sizeof number, LUA_INTEGER_FMT, lua_tointeger(l, -1)));
			return;
		}
		v = lua_tonumber(l, -1);
		if (!isfinite(v))
			luaL_error(l, "json.encode: JSON has no number %f", v);
		snprintf(number, sizeof number, "%.14g", v);
		if (strtod(number, NULL) != v)
			snprintf(number, sizeof number, "%.17g", v);
		add(l, number, strlen(number));
		return;
	case LUA_TSTRING:
		text = lua_tolstring(l, -1, &length);
		encode_text(l, text, length);
		return;
	case LUA_TTABLE:
		encode_table(l, depth);
		return;
	case LUA_TLIGHTUSERDATA:
		if (!lua_touserdata(l, -1)) {
			add(l, "null", 4);
			return;
		}
	}
	luaL_error(l, "json.encode: JSON has nothing for a %s", luaL_typename(l, -1));
}

static int l_encode(lua_State *l)
{
	luaL_checkany(l, 1);
	lua_settop(l, 1);
	made.length = 0;
	encode(l, 1);
	push_made(l, 0);
	return 1;
}

/* --- Decoding --------------------------------------------------------------------- */

struct source {
	const char *begin, *p, *end;
	const char *what;
};

static void expected(lua_State *l, struct source *s, const char *what)
{
	if (s->p == s->end)
		luaL_error(l, "%s: the text ends where %s is expected", s->what, what);
	luaL_error(l, "%s: byte %d is not %s", s->what, (int)(s->p - s->begin) + 1, what);
}

static void skip_blanks(struct source *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static bool next_is(struct source *s, char c)
{
	skip_blanks(s);
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static bool digits(struct source *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from;
}

static void decode_number(lua_State *l, struct source *s)
{
	const char *from = s->p;
	char number[400];

	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0')
		s->p++;
	else if (!digits(s))
		expected(l, s, "a digit");
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!digits(s))
			expected(l, s, "a digit");
	}
	if (s->p < s->end && (*s->p | 32) == 'e') {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!digits(s))
			expected(l, s, "a digit");
	}
	if ((size_t)(s->p - from) >= sizeof number)
		luaL_error(l, "%s: the number at byte %d is too long", s->what, (int)(from - s->begin) + 1);
	memcpy(number, from, (size_t)(s->p - from));
	number[s->p - from] = 0;
	lua_stringtonumber(l, number);
}

static uint32_t four_digits(lua_State *l, struct source *s)
{
	uint8_t b[2];

	if (s->end - s->p < 4 || memchr(s->p, ' ', 4) || hex_decode((const uint8_t *)s->p, 4, b) != 2)
		expected(l, s, "four hex digits");
	s->p += 4;
	return (uint32_t)b[0] << 8 | b[1];
}

static void decode_escape(lua_State *l, struct source *s)
{
	static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
	const char *escape;
	uint32_t c;
	char utf8[8];

	if (s->p == s->end)
		expected(l, s, "an escape");
	if (*s->p != 'u') {
		for (escape = escapes; *escape && *escape != *s->p; escape += 2)
			;
		if (!*escape)
			expected(l, s, "an escape");
		s->p++;
		add_char(l, escape[1]);
		return;
	}
	s->p++;
	c = four_digits(l, s);
	if (c >= 0xd800 && c < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
		struct source second = *s;
		uint32_t low;

		second.p += 2;
		low = four_digits(l, &second);
		if (low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
			*s = second;
		}
	}
	if (c >= 0xd800 && c < 0xe000)
		c = 0xfffd; /* half of a pair */
	add(l, utf8, (size_t)(c < 0x80 ? (utf8[0] = (char)c, 1) :
		c < 0x800 ? (utf8[0] = (char)(0xc0 | c >> 6), utf8[1] = (char)(0x80 | (c & 63)), 2) :
		c < 0x10000 ? (utf8[0] = (char)(0xe0 | c >> 12), utf8[1] = (char)(0x80 | (c >> 6 & 63)), utf8[2] = (char)(0x80 | (c & 63)), 3) :
		(utf8[0] = (char)(0xf0 | c >> 18), utf8[1] = (char)(0x80 | (c >> 12 & 63)), utf8[2] = (char)(0x80 | (c >> 6 & 63)), utf8[3] = (char)(0x80 | (c & 63)), 4)));
}

/* Pushes the text whose first quote was read. */
static void decode_text(lua_State *l, struct source *s)
{
	const char *from = s->p;

	made.length = 0;
	for (;;) {
		if (s->p == s->end || (uint8_t)*s->p < 0x20)
			expected(l, s, "the rest of a text, with its quote");
		if (*s->p == '"' || *s->p == '\\') {
			add(l, from, (size_t)(s->p - from));
			if (*s->p++ == '"')
				break;
			decode_escape(l, s);
			from = s->p;
			continue;
		}
		s->p++;
	}
	push_made(l, 0);
}

static void mark(lua_State *l)
{
	lua_rawgetp(l, LUA_REGISTRYINDEX, &array_mark);
	lua_setmetatable(l, -2);
}

static bool word(struct source *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return false;
	s->p += n;
	return true;
}

/* Pushes the value that comes next. */
static void decode(lua_State *l, struct source *s, int depth)
{
	lua_Integer n = 0;

	if (depth > DEPTH)
		luaL_error(l, "%s: it is more than %d deep", s->what, DEPTH);
	luaL_checkstack(l, 8, s->what);
	if (next_is(s, '"')) {
		decode_text(l, s);
	} else if (next_is(s, '[')) {
		lua_newtable(l);
		if (next_is(s, ']')) {
			mark(l);
			return;
		}
		do {
			decode(l, s, depth + 1);
			lua_rawseti(l, -2, ++n);
		} while (next_is(s, ','));
		if (!next_is(s, ']'))
			expected(l, s, "a comma or a bracket");
	} else if (next_is(s, '{')) {
		lua_newtable(l);
		if (next_is(s, '}'))
			return;
		do {
			if (!next_is(s, '"'))
				expected(l, s, "a key in quotes");
			decode_text(l, s);
			if (!next_is(s, ':'))
				expected(l, s, "a colon");
			decode(l, s, depth + 1);
			lua_rawset(l, -3);
		} while (next_is(s, ','));
		if (!next_is(s, '}'))
			expected(l, s, "a comma or a brace");
	} else if (s->p < s->end && (*s->p == '-' || (*s->p >= '0' && *s->p <= '9'))) {
		decode_number(l, s);
	} else if (word(s, "true")) {
		lua_pushboolean(l, 1);
	} else if (word(s, "false")) {
		lua_pushboolean(l, 0);
	} else if (word(s, "null")) {
		lua_pushlightuserdata(l, NULL);
	} else
		expected(l, s, "the beginning of a value");
}

/* Pushes what a JSON text says. what begins the message of an error. */
void decode_json(lua_State *l, const char *text, size_t length, const char *what)
{
	struct source s = {text, text, text + length, what};

	decode(l, &s, 1);
	skip_blanks(&s);
	if (s.p < s.end)
		expected(l, &s, "the end");
}

static int l_decode(lua_State *l)
{
	size_t length;
	const char *text = luaL_checklstring(l, 1, &length);

	decode_json(l, text, length, "json.decode");
	return 1;
}

/* json.array(table): the table, which is an array of JSON even if it is empty. */
static int l_array(lua_State *l)
{
	if (lua_isnoneornil(l, 1)) {
		lua_settop(l, 0);
		lua_newtable(l);
	}
	luaL_checktype(l, 1, LUA_TTABLE);
	lua_settop(l, 1);
	mark(l);
	return 1;
}

static const luaL_Reg functions[] = {{"encode", l_encode}, {"decode", l_decode}, {"array", l_array}, {NULL, NULL}};

void define_json(void)
{
	lua_newtable(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &array_mark);
	luaL_newlib(L, functions);
	lua_pushlightuserdata(L, NULL);
	lua_setfield(L, -2, "null");
	lua_setglobal(L, "json");
}

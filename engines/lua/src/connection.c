/* The connection object of scripts, and the tables of functions that are called for one. */
#include <string.h>

#include "engine.h"

#include "lapi.h" /* what is done for each line does without Lua's calls for C */
#include "lstate.h"
#include "lstring.h"
#include "ltable.h"

const struct limit_names limit_names = {"line_limit", "frame_limit", "queue_limit"};

/* --- Callbacks ---------------------------------------------------------------- */

const char *const callback_names[CALLBACKS] = {
	"start", "open", "data", "line", "frame", "eof", "writable",
	"secured", "timer", "closed", "stop",
};

const char *suspect;

/* Reads a number of the table at an index, which may lie between least and most. */
static void read_number(lua_State *l, int at, const char *name, int32_t least, int32_t most, int32_t *to)
{
	int type = lua_getfield(l, at, name), whole;
	lua_Integer n = lua_tointegerx(l, -1, &whole);

	if (type != LUA_TNIL) {
		if (type != LUA_TNUMBER || !whole || n < least || n > most) {
			suspect = name;
			luaL_error(l, "%s is a whole number, %d to %d", name, (int)least, (int)most);
		}
		*to = (int32_t)n;
	}
	lua_pop(l, 1);
}

static bool read_flag(lua_State *l, int at, const char *name)
{
	bool is;

	lua_getfield(l, at, name);
	is = lua_toboolean(l, -1);
	lua_pop(l, 1);
	return is;
}

/* Pushes the callbacks of the table at an index. That of the script itself must have one
 * function at least. */
void read_callbacks(lua_State *l, int at, bool of_script)
{
	struct callbacks *k;
	int i, functions = 0, readers = 0;

	suspect = NULL;
	if (!lua_istable(l, at))
		luaL_error(l, of_script ?
			"the script returns no handler; write: return { line = function(c, text) c:send(text .. \"\\n\") end }" :
			"a handler is a table, as { data = function(c, bytes) end }");
	k = lua_newuserdatauv(l, sizeof *k, CALLBACKS + 1);
	memset(k, 0, sizeof *k);
	k->terms = (struct terms){.line_limit = LINE_LIMIT, .frame_limit = FRAME_LIMIT, .queue_limit = QUEUE_LIMIT};
	lua_pushvalue(l, at);
	lua_setiuservalue(l, -2, CALLBACKS + 1);
	for (i = 0; i < CALLBACKS; i++) {
		int type = lua_getfield(l, at, callback_names[i]);

		if (type == LUA_TNIL) {
			lua_pop(l, 1);
			continue;
		}
		if (type != LUA_TFUNCTION) {
			suspect = callback_names[i];
			luaL_error(l, "%s of the handler is not a function, but a %s", callback_names[i], lua_typename(l, type));
		}
		lua_setiuservalue(l, -2, i + 1);
		k->has[i] = true;
		functions++;
		if (i == ON_DATA || i == ON_LINE || i == ON_FRAME) {
			readers++;
			suspect = callback_names[i];
		}
	}
	if (readers > 1)
		luaL_error(l, "a handler has one of data, line and frame, and this one has %d", readers);
	if (of_script && functions == 0)
		luaL_error(l, "the handler has none of the functions that are called: "
			"start, open, data, line, frame, eof, writable, secured, timer, closed, stop");
	read_number(l, at, "line_limit", 1, WINDOW - 2, &k->terms.line_limit);
	read_number(l, at, "frame_limit", 0, WINDOW, &k->terms.frame_limit);
	read_number(l, at, "queue_limit", 1, 64 << 20, &k->terms.queue_limit);
	if (lua_getfield(l, at, "frame_length") == LUA_TTABLE) {
		read_number(l, lua_gettop(l), "bytes", 1, 4, &k->terms.frame_bytes);
		k->terms.frame_little = read_flag(l, lua_gettop(l), "little");
		k->terms.frame_whole = read_flag(l, lua_gettop(l), "whole");
	}
	lua_pop(l, 1);
	if (k->has[ON_FRAME] && k->terms.frame_bytes != 1 && k->terms.frame_bytes != 2 && k->terms.frame_bytes != 4)
		luaL_error(l, "a handler with frame needs frame_length, as { bytes = 2 }, where bytes is 1, 2 or 4");
}

/* --- Objects ------------------------------------------------------------------- */

static Table *metatable; /* of connections; its address is its key in the registry, too */
static Table *members;   /* their methods, and what is known of them */

/* Pushes a connection that has no handle yet. The callbacks are at an index. */
struct connection *new_connection(lua_State *l, int callbacks)
{
	struct connection *c;

	callbacks = lua_absindex(l, callbacks);
	c = lua_newuserdatauv(l, sizeof *c, 2);
	memset(c, 0, sizeof *c);
	c->reference = LUA_NOREF;
	c->callbacks = lua_touserdata(l, callbacks);
	c->terms = &c->callbacks->terms;
	lua_pushvalue(l, callbacks);
	lua_setiuservalue(l, -2, OWN_CALLBACKS);
	lua_rawgetp(l, LUA_REGISTRYINDEX, &metatable);
	lua_setmetatable(l, -2);
	return c;
}

struct connection *connection_of(int32_t handle)
{
	return (struct connection *)find_link(handle);
}

/* Keeps c, which is on the top of the stack if nobody holds it yet, until as many calls of
 * let_go. */
void hold(lua_State *l, struct connection *c)
{
	if (c->holds == 0) {
		lua_pushvalue(l, -1);
		c->reference = luaL_ref(l, LUA_REGISTRYINDEX);
	}
	c->holds++;
}

void let_go(struct connection *c)
{
	if (--c->holds == 0) {
		luaL_unref(L, LUA_REGISTRYINDEX, c->reference);
		c->reference = LUA_NOREF;
	}
}

/* Pushes one that somebody holds. */
void push_connection(lua_State *l, struct connection *c)
{
	lua_rawgeti(l, LUA_REGISTRYINDEX, c->reference);
}

static Udata *userdata_of(struct connection *c)
{
	return (Udata *)((char *)c - udatamemoffset(OWN_CALLBACKS));
}

/* Pushes a callback that c has, and c. There is room. */
void push_callback(lua_State *l, struct connection *c, enum callback which)
{
	const Udata *callbacks = uvalue(&userdata_of(c)->uv[OWN_CALLBACKS - 1].uv);

	setobj2s(l, l->top.p, &callbacks->uv[which].uv);
	setuvalue(l, s2v(l->top.p + 1), userdata_of(c));
	l->top.p += 2;
}

/* Takes the handle away, for which it was held. */
void forget(struct connection *c)
{
	if (!c->handle)
		return;
	forget_link((struct link *)c);
	let_go(c);
}

static int end_connection(lua_State *l)
{
	end_link(lua_touserdata(l, 1));
	return 0;
}

/* Tells the host whether c reads, after one of the reasons not to has come or gone. */
void update_reading(struct connection *c)
{
	if (c->handle)
		csa_v1_receive(c->handle, !c->paused && !c->unread && c->blocked == 0);
}

static struct connection *self_of(lua_State *l, const char *method)
{
	const TValue *self = s2v(l->ci->func.p + 1);

	if (l->top.p > l->ci->func.p + 1 && ttisfulluserdata(self) && uvalue(self)->metatable == metatable)
		return (struct connection *)getudatamem(uvalue(self));
	luaL_error(l, "%s is a method of a connection: write c:%s(...), with a colon", method, method);
	return NULL;
}

/* --- Methods ------------------------------------------------------------------- */

static int connection_send(lua_State *l)
{
	struct connection *c = self_of(l, "send");
	const TValue *text = s2v(l->ci->func.p + 2);
	size_t length;
	const char *p;
	int all;

	if (l->top.p > l->ci->func.p + 2 && ttisstring(text)) {
		p = getstr(tsvalue(text));
		length = tsslen(tsvalue(text));
	} else {
		if (!lua_isstring(l, 2)) /* a number is as good as its text */
			luaL_error(l, "send takes text, and was given %s; json.encode or tostring make text of it",
				lua_isnoneornil(l, 2) ? "nothing" : lua_istable(l, 2) ? "a table" : luaL_typename(l, 2));
		p = lua_tolstring(l, 2, &length);
	}
	all = send_or_keep((struct link *)c, (const uint8_t *)p, length);
	if (all < 0)
		luaL_error(l, "%s", problem);
	lua_pushboolean(l, all);
	return 1;
}

static int connection_close(lua_State *l)
{
	struct connection *c = self_of(l, "close");

	c->closing = true;
	if (c->handle)
		finish((struct link *)c, CSA_PRODUCER_FINISHED);
	return 0;
}

static int connection_finish(lua_State *l)
{
	struct connection *c = self_of(l, "finish");

	if (c->handle)
		finish((struct link *)c, CSA_FINISH_SENDING);
	return 0;
}

static int connection_abort(lua_State *l)
{
	struct connection *c = self_of(l, "abort");

	c->closing = true;
	if (c->handle)
		csa_v1_control(c->handle, CSA_SHUTDOWN_MICROPROCESS);
	return 0;
}

static int connection_pause(lua_State *l)
{
	struct connection *c = self_of(l, "pause");

	c->paused = true;
	update_reading(c);
	return 0;
}

static int connection_resume(lua_State *l)
{
	struct connection *c = self_of(l, "resume");

	c->paused = false;
	update_reading(c);
	return 0;
}

static void must(lua_State *l, const char *what, int32_t code)
{
	if (code < 0)
		luaL_error(l, "%s: %s", what, code_name(code));
}

static int32_t whole_number(lua_State *l, int at, const char *what)
{
	int whole;
	lua_Integer n = lua_tointegerx(l, at, &whole);

	if (!whole || n != (int32_t)n)
		luaL_error(l, "%s takes whole numbers, and was given %s", what, luaL_tolstring(l, at, NULL));
	return (int32_t)n;
}

static int connection_timer(lua_State *l)
{
	struct connection *c = self_of(l, "timer");
	int32_t token = whole_number(l, 2, "timer"), ms = whole_number(l, 3, "timer");

	if (c->handle)
		must(l, "timer", csa_v1_timer(c->handle, token, ms));
	return 0;
}

static int connection_secure(lua_State *l)
{
	struct connection *c = self_of(l, "secure");
	const char *role = lua_tostring(l, 2), *name = "";
	bool client = role && strcmp(role, "client") == 0;
	int32_t code = CSA_CLOSED;
	size_t length = 0;

	if (!client && (!role || strcmp(role, "server") != 0))
		luaL_error(l, "secure takes \"server\", or \"client\" and the name that the peer's certificate must have");
	if (client)
		name = luaL_checklstring(l, 3, &length);
	if (c->queued > 0)
		code = CSA_AGAIN; /* what was sent in the clear has to leave first */
	else if (c->handle)
		code = csa_v1_makessl(c->handle, client ? CSA_TLS_CLIENT : CSA_TLS_SERVER, name, (int32_t)length);
	if (code == CSA_AGAIN)
		c->told_full = true; /* so that writable follows, when it can be tried again */
	must(l, "secure", code);
	c->secured_now = true;
	return 0;
}

static int connection_splice(lua_State *l)
{
	struct connection *a = self_of(l, "splice"), *b;

	lua_remove(l, 1);
	b = self_of(l, "splice");
	if (a->queued > 0 || b->queued > 0)
		must(l, "splice", CSA_AGAIN);
	must(l, "splice", a->handle && b->handle ? csa_v1_splice(a->handle, b->handle) : CSA_CLOSED);
	forget(a);
	forget(b);
	return 0;
}

static const luaL_Reg methods[] = {
	{"send", connection_send},
	{"close", connection_close},
	{"finish", connection_finish},
	{"abort", connection_abort},
	{"pause", connection_pause},
	{"resume", connection_resume},
	{"timer", connection_timer},
	{"secure", connection_secure},
	{"splice", connection_splice},
	{NULL, NULL},
};

/* --- Fields -------------------------------------------------------------------- */

/* What is known of a connection, as text. In the table of members they are numbers. */
static const struct { const char *name; int32_t key; } known[] = {
	{"local_address", CSA_INFO_LOCAL},
	{"listener", CSA_INFO_LISTENER},
	{"tenant", CSA_INFO_TENANT},
	{"transport", CSA_INFO_TRANSPORT},
	{"server_name", CSA_INFO_SERVER_NAME},
	{"alpn", CSA_INFO_ALPN},
	{"tls_version", CSA_INFO_TLS_VERSION},
	{"cipher", CSA_INFO_CIPHER},
	{"client_subject", CSA_INFO_CLIENT_SUBJECT},
	{"client_names", CSA_INFO_CLIENT_NAMES},
	{"client_fingerprint", CSA_INFO_CLIENT_FINGERPRINT},
	{"certificate", CSA_INFO_CERTIFICATE},
	{"message_type", CSA_INFO_MESSAGE},
	{"target", CSA_INFO_TARGET},
	{"origin", CSA_INFO_ORIGIN},
	{"subprotocol", CSA_INFO_SUBPROTOCOL},
};
enum { PEER = -1, WAITING = -2, HANDLER = -3 };

/* Its upvalue is the table of members. */
static int connection_index(lua_State *l)
{
	struct connection *c = lua_touserdata(l, 1);
	char text[4096];
	int32_t key;

	lua_pushvalue(l, 2);
	switch (lua_rawget(l, lua_upvalueindex(1))) {
	case LUA_TFUNCTION:
		return 1;
	case LUA_TNIL:
		if (lua_getiuservalue(l, 1, FIELDS) != LUA_TTABLE)
			return 1;
		lua_pushvalue(l, 2);
		lua_rawget(l, -2);
		return 1;
	}
	key = (int32_t)lua_tointeger(l, -1);
	switch (key) {
	case PEER:
		lua_pushstring(l, c->peer ? c->peer : "");
		return 1;
	case WAITING:
		lua_pushinteger(l, c->queued);
		return 1;
	case HANDLER:
		lua_getiuservalue(l, 1, OWN_CALLBACKS);
		lua_getiuservalue(l, -1, CALLBACKS + 1);
		return 1;
	}
	lua_pushlstring(l, text, info_of((struct link *)c, key, text, sizeof text));
	return 1;
}

/* Lua calls this for what has no fields of its own: see build.sh. True: t is a connection, and the
 * key is a method's or that of one of the script's own fields, which is put at to. */
int quick_index(const TValue *t, const TValue *key, StkId to);
int quick_index(const TValue *t, const TValue *key, StkId to)
{
	const TValue *found, *fields;

	if (!ttisfulluserdata(t) || uvalue(t)->metatable != metatable || !ttisshrstring(key))
		return false;
	found = luaH_getshortstr(members, tsvalue(key));
	if (!ttisfunction(found)) {
		fields = &uvalue(t)->uv[FIELDS - 1].uv;
		if (!isabstkey(found) || !ttistable(fields))
			return false;
		found = luaH_getshortstr(hvalue(fields), tsvalue(key));
		if (isempty(found))
			return false;
	}
	setobj(L, s2v(to), found);
	return true;
}

static int connection_newindex(lua_State *l)
{
	struct connection *c = lua_touserdata(l, 1);
	int32_t key;

	lua_pushvalue(l, 2);
	if (lua_rawget(l, lua_upvalueindex(1)) == LUA_TNIL) {
		if (lua_getiuservalue(l, 1, FIELDS) != LUA_TTABLE) {
			lua_newtable(l);
			lua_pushvalue(l, -1);
			lua_setiuservalue(l, 1, FIELDS);
		}
		lua_pushvalue(l, 2);
		lua_pushvalue(l, 3);
		lua_rawset(l, -3);
		return 0;
	}
	key = (int32_t)lua_tointeger(l, -1);
	if (key != HANDLER)
		luaL_error(l, "%s of a connection cannot be set; keep it by another name", lua_tostring(l, 2));
	read_callbacks(l, 3, false);
	c->callbacks = lua_touserdata(l, -1);
	c->terms = &c->callbacks->terms;
	lua_setiuservalue(l, 1, OWN_CALLBACKS);
	if (c->unread) {
		c->unread = false;
		update_reading(c);
	}
	return 0;
}

static int connection_text(lua_State *l)
{
	struct connection *c = lua_touserdata(l, 1);

	lua_pushfstring(l, "connection of %s", c->peer ? c->peer : "an unknown peer");
	return 1;
}

static void set_member(lua_State *l, const char *name, int32_t key)
{
	lua_pushinteger(l, key);
	lua_setfield(l, -2, name);
}

void define_connections(void)
{
	size_t i;

	lua_newtable(L); /* the metatable */
	lua_newtable(L); /* the members */
	members = hvalue(s2v(L->top.p - 1));
	luaL_setfuncs(L, methods, 0);
	for (i = 0; i < sizeof known / sizeof *known; i++)
		set_member(L, known[i].name, known[i].key);
	set_member(L, "peer", PEER);
	set_member(L, "waiting", WAITING);
	set_member(L, "handler", HANDLER);
	lua_pushvalue(L, -1);
	lua_pushcclosure(L, connection_index, 1);
	lua_setfield(L, -3, "__index");
	lua_pushcclosure(L, connection_newindex, 1);
	lua_setfield(L, -2, "__newindex");
	lua_pushcfunction(L, connection_text);
	lua_setfield(L, -2, "__tostring");
	lua_pushcfunction(L, end_connection);
	lua_setfield(L, -2, "__gc");
	lua_pushboolean(L, 0); /* scripts cannot get at it */
	lua_setfield(L, -2, "__metatable");
	lua_pushstring(L, "connection");
	lua_setfield(L, -2, "__name");
	metatable = hvalue(s2v(L->top.p - 1));
	lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable);
}

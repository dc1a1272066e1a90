/* Starts a script, and calls it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#include "ldo.h" /* what is done for each line does without Lua's calls for C */
#include "lgc.h"
#include "lstate.h"
#include "lstring.h"

CSA_DEFINE_WINDOW(window, WINDOW)

lua_State *L;
struct connection *serving;

static bool is_started;
static int handler = LUA_NOREF;     /* the callbacks of accepted connections */
static int randomseed = LUA_NOREF;  /* math.randomseed */

bool started(void) { return is_started; }

#define STEPS 50000       /* rounds of loops, calls and tries of a pattern */

int steps_left = STEPS;

/* Lua mixes it into what it hashes, so that nobody can choose texts that collide. */
unsigned int guest_seed(void);
unsigned int guest_seed(void)
{
	unsigned int seed;

	csa_v1_random(&seed, sizeof seed);
	return seed;
}

/* --- Errors ------------------------------------------------------------------------ */

/* Makes text of what was thrown, if it is a number or has a __tostring; else gives nothing. */
static int text_of_thrown(lua_State *l)
{
	if (lua_type(l, 1) != LUA_TNUMBER && luaL_getmetafield(l, 1, "__tostring") == LUA_TNIL)
		return 0;
	luaL_tolstring(l, 1, NULL);
	return 1;
}

/* A text of the error that is on the top of the stack of l. What makes text of it is the script's,
 * and may fail itself. */
static const char *error_text(lua_State *l)
{
	static char text[640];
	const char *message = lua_type(l, -1) == LUA_TSTRING ? lua_tostring(l, -1) : NULL;
	const char *type = luaL_typename(l, -1);
	int top = lua_gettop(L);
	bool failed = false;

	if (!message && lua_checkstack(l, 1) && lua_checkstack(L, LUA_MINSTACK)) {
		lua_pushvalue(l, -1);
		if (l != L)
			lua_xmove(l, L, 1);
		lua_pushcfunction(L, text_of_thrown);
		lua_insert(L, -2);
		failed = lua_pcall(L, 1, 1, 0) != LUA_OK;
		message = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
	}
	if (failed)
		snprintf(text, sizeof text, "a %s was thrown, and its __tostring failed%s%.500s", type, message ? ": " : "", message ? message : "");
	else if (message)
		snprintf(text, sizeof text, "%.600s", message);
	else
		snprintf(text, sizeof text, "a %s was thrown, which is no text and has no line", type);
	lua_settop(L, top);
	return text;
}

/* Appends the calls that a thread is in to the n bytes in line: ", at f (x.lua:1), at g ...".
 * Returns how many there are then. It goes through the calls by itself: by lua_getstack each
 * one would be looked for from the first. */
static size_t append_calls(lua_State *thread, char *line, size_t n, size_t room)
{
	struct calls calls;
	char call[CALL_ROOM];
	CallInfo *ci;
	lua_Debug ar;

	begin_calls(&calls, line, n, room);
	for (ci = thread->ci; ci != &thread->base_ci && !calls.full; ci = ci->previous) {
		ar.i_ci = ci;
		lua_getinfo(thread, "Sln", &ar);
		if (ar.currentline < 0)
			continue; /* a function of the engine */
		snprintf(call, sizeof call, "at %.60s (%s:%d)",
			ar.name ? ar.name : *ar.what == 'm' ? "the script" : "a function", ar.short_src, ar.currentline);
		add_call(&calls, call);
	}
	return end_calls(&calls);
}

/* Logs the error on the top of a thread's stack, with what it was in and whose connection,
 * and the calls that another thread was in, which may be the same. It takes one line. */
static void report(struct connection *c, const char *what, lua_State *thread, lua_State *called)
{
	char line[CSA_MAX_LOG_LINE];
	size_t n;
	int part = snprintf(line, sizeof line, "%s%s%.250s: ", what, c && c->peer ? " of " : "", c && c->peer ? c->peer : "");

	n = part > 0 ? (size_t)part : 0;
	part = snprintf(line + n, sizeof line - n, "%s", error_text(thread));
	n += part > 0 ? (size_t)part : 0;
	if (called != L)
		n = append_calls(called, line, n, sizeof line);
	csa_v1_log(CSA_LOG_ERROR, line, n < sizeof line ? (int32_t)n : (int32_t)sizeof line - 1);
}

/* Is report, and closes the connection, if there is one. */
void fail(struct connection *c, const char *what, lua_State *thread, lua_State *called)
{
	if (c)
		c->failed = true;
	if (!c || c != serving)
		tell_failed((struct link *)c);
	report(c, what, thread, called);
}

/* --- What takes long ------------------------------------------------------------- */

/* Lua calls this after so many steps: see build.sh. It writes down where the script is, which
 * goes on: the host alone stops an event. */
void note_where(lua_State *l)
{
	char text[2 + WHERE_ROOM];
	size_t n = append_calls(l, text, 0, WHERE_ROOM + 1);

	text[n] = 0;
	set_where(n > 2 ? text + 2 : text + n); /* without the comma */
	steps_left = STEPS;
}

/* What begins takes its own time. */
static void begin_watch(void)
{
	steps_left = STEPS;
	clear_where();
}

/* --- Events -------------------------------------------------------------------------- */

struct event {
	const char *what; /* for errors: "line" */
	int32_t handle, argument;
	int32_t answer;
	bool through;         /* what reads has come to its end */
	struct connection *c; /* held, once begin has been called */
};

/* Makes c of the event, and pushes it. */
static struct connection *begin(lua_State *l, struct event *e)
{
	struct connection *c = connection_of(e->handle);

	if (!c) {
		lua_rawgeti(l, LUA_REGISTRYINDEX, handler);
		c = new_connection(l, -1);
		hold(l, c);
		if (!add_link((struct link *)c, e->handle)) {
			let_go(c);
			luaL_error(l, "not enough memory");
		}
	}
	c->holds++;
	e->c = serving = c;
	return c;
}

static void end_event(struct connection *c)
{
	c->secured_now = false;
	if (c->failed)
		tell_failed((struct link *)c);
	let_go(c);
}

/* Runs an event, so that no error gets out of it: one of begin and the like is that there is
 * no memory. */
static int32_t run_event(lua_CFunction f, const char *what, int32_t handle, int32_t argument)
{
	struct event e = {.what = what, .handle = handle, .argument = argument, .answer = CSA_OK};
	bool failed;

	begin_watch();
	lua_settop(L, 0);
	lua_pushcfunction(L, f);
	lua_pushlightuserdata(L, &e);
	failed = lua_pcall(L, 1, 0, 0) != LUA_OK;
	if (failed) {
		e.answer = CSA_QUOTA;
		if (e.c)
			fail(e.c, e.what, L, L);
		else
			report(e.c, e.what, L, L);
	}
	serving = NULL;
	if (e.c)
		end_event(e.c);
	else if (failed)
		handler_failed(handle);
	lua_settop(L, 0);
	return e.answer;
}

static struct event *event_of(lua_State *l)
{
	return lua_touserdata(l, 1);
}

/* Pushes one of the functions of c, and c. */
static void push_call(lua_State *l, struct connection *c, enum callback which)
{
	push_connection(l, c);
	lua_getiuservalue(l, -1, OWN_CALLBACKS);
	lua_getiuservalue(l, -1, which + 1);
	lua_replace(l, -2);
	lua_insert(l, -2);
}

/* Calls the function that push_call has pushed, with args more arguments. */
static enum outcome call(lua_State *l, struct connection *c, enum callback which, int args)
{
	return run(c, callback_names[which], true, l, args + 1);
}

static int on_open(lua_State *l)
{
	struct event *e = event_of(l);
	struct connection *c = begin(l, e);

	if (c->dialler) {
		open_link((struct link *)c);
		flush((struct link *)c);
		resume_dialler(c, CSA_OK);
	}
	if (c->handle && !c->failed && c->callbacks->has[ON_OPEN]) {
		push_call(l, c, ON_OPEN);
		if (call(l, c, ON_OPEN, 0) == DONE && lua_isboolean(l, -1) && !lua_toboolean(l, -1))
			e->answer = CSA_REFUSED;
	}
	return 0;
}

int32_t csa_open(int32_t handle) { return run_event(on_open, "open", handle, 0); }

static bool reads(struct connection *c)
{
	return c->blocked == 0 && reading((struct link *)c);
}

/* Refuses what the peer has sent, which is no error of the script's. */
static void refuse(lua_State *l, struct event *e)
{
	e->answer = CSA_INVALID;
	e->through = true;
	lua_pushstring(l, problem);
	report(e->c, e->what, l, l);
}

/* Calls one of the functions of c with what a piece has. What it answers is on the stack then, if
 * something is to be. l is a task's thread that has called nothing else: there is room. */
static void call_with(lua_State *l, struct connection *c, enum callback which, struct piece piece, int answers)
{
	push_callback(l, c, which);
	setsvalue2s(l, l->top.p, luaS_newlstr(l, (const char *)piece.p, (size_t)piece.len));
	l->top.p++;
	luaC_checkGC(l);
	luaD_call(l, l->top.p - 3, answers);
}

/* The reading functions say what is consumed before they call the script. They do not go on where
 * that waits or fails, nor where its own pcall has caught an error: see read_by. What a line or a
 * frame has left is freed at once, if it can be. */

static void read_lines(lua_State *l, void *event)
{
	struct event *e = event;
	struct connection *c = e->c;
	int32_t len = e->argument;

	while (e->answer < len && reads(c) && c->callbacks->has[ON_LINE]) {
		struct mark mark = begin_strings(l);
		struct piece line;
		int32_t n = first_line((struct link *)c, window + e->answer, len - e->answer, &line);

		if (n < 0)
			return refuse(l, e);
		if (n == 0)
			break;
		e->answer += n;
		call_with(l, c, ON_LINE, line, 0);
		free_strings(l, mark);
	}
	e->through = true;
}

static void read_frames(lua_State *l, void *event)
{
	struct event *e = event;
	struct connection *c = e->c;
	int32_t len = e->argument, needed = 1;

	while (e->answer < len && reads(c) && c->callbacks->has[ON_FRAME]) {
		struct mark mark = begin_strings(l);
		struct piece frame;
		int32_t n = first_frame((struct link *)c, window + e->answer, len - e->answer, &frame, &needed);

		if (n < 0)
			return refuse(l, e);
		if (n == 0)
			break;
		e->answer += n;
		needed = 1;
		call_with(l, c, ON_FRAME, frame, 0);
		free_strings(l, mark);
	}
	if (reads(c))
		want((struct link *)c, needed);
	e->through = true;
}

static void tell_stuck(lua_State *l, struct connection *c)
{
	lua_Debug about;
	char at[120];

	if (!c->callbacks->has[ON_DATA])
		return;
	push_callback(l, c, ON_DATA);
	lua_pop(l, 1);
	if (!lua_isfunction(l, -1)) {
		lua_pop(l, 1);
		return warn_of_stuck((struct link *)c, NULL);
	}
	lua_getinfo(l, ">S", &about);
	snprintf(at, sizeof at, "at data (%s:%d)", about.short_src, about.linedefined);
	warn_of_stuck((struct link *)c, at);
}

static void read_bytes(lua_State *l, void *event)
{
	struct event *e = event;
	int32_t len = e->argument;
	struct mark mark = begin_strings(l);
	lua_Number n;

	e->answer = len;
	call_with(l, e->c, ON_DATA, (struct piece){window, len}, 1);
	if (lua_type(l, -1) == LUA_TNUMBER) {
		n = lua_tonumber(l, -1);
		e->answer = n >= 0 && n <= len && n == (int32_t)n ? (int32_t)n : CSA_QUOTA;
		if (e->answer == CSA_QUOTA)
			luaL_error(l, "data answers how many bytes it has consumed, 0 to %d, or nothing for all of them; it answered %f", (int)len, n);
		if (e->answer == 0 && len == WINDOW && !e->c->paused)
			tell_stuck(l, e->c);
	}
	l->top.p--; /* what it has answered may be a string */
	free_strings(l, mark);
	e->through = true;
}

static int make_connection(lua_State *l)
{
	begin(l, event_of(l));
	return 0;
}

static void read_by(struct event *e, enum callback which, Pfunc f)
{
	e->what = callback_names[which];
	/* Lua goes on behind a pcall that has caught an error by a jump out of f. Then the next lines
	 * have to be read by another call of it. */
	do {
		if (!run_event_of(e->c, e->what, f, e)) {
			e->c->failed = true;
			e->answer = CSA_QUOTA;
			return;
		}
	} while (!e->through && e->answer < e->argument && e->answer >= 0 && reads(e->c));
}

int32_t csa_data(int32_t handle, int32_t len)
{
	struct event e = {.what = "data", .handle = handle, .argument = len, .c = connection_of(handle)};
	struct connection *c = e.c;

	if (!c) {
		int32_t answer = run_event(make_connection, "data", handle, len);

		e.c = c = connection_of(handle);
		if (!c)
			return answer;
	}
	begin_watch();
	c->holds++;
	if (!reads(c))
		e.answer = c->failed || c->closing ? len : 0;
	else if (c->callbacks->has[ON_LINE])
		read_by(&e, ON_LINE, read_lines);
	else if (c->callbacks->has[ON_FRAME])
		read_by(&e, ON_FRAME, read_frames);
	else if (c->callbacks->has[ON_DATA])
		read_by(&e, ON_DATA, read_bytes);
	else {
		c->unread = true; /* until it gets a handler that reads, or is spliced */
		update_reading(c);
	}
	end_event(c);
	return e.answer;
}

static int on_writable(lua_State *l)
{
	struct connection *c = begin(l, event_of(l));

	flush((struct link *)c);
	if (!c->handle || c->queued > 0 || !c->told_full || c->closing)
		return 0;
	c->told_full = false;
	if (c->callbacks->has[ON_WRITABLE]) {
		push_call(l, c, ON_WRITABLE);
		call(l, c, ON_WRITABLE, 0);
	}
	return 0;
}

void csa_writable(int32_t handle) { run_event(on_writable, "writable", handle, 0); }

static int on_secured(lua_State *l)
{
	struct event *e = event_of(l);
	struct connection *c = begin(l, e);

	flush((struct link *)c);
	if (c->callbacks->has[ON_SECURED]) {
		push_call(l, c, ON_SECURED);
		lua_pushstring(l, code_name(e->argument));
		call(l, c, ON_SECURED, 1);
	}
	return 0;
}

void csa_secured(int32_t handle, int32_t status) { run_event(on_secured, "secured", handle, status); }

static int on_eof(lua_State *l)
{
	struct connection *c = begin(l, event_of(l));

	if (c->callbacks->has[ON_EOF]) {
		push_call(l, c, ON_EOF);
		call(l, c, ON_EOF, 0);
	} else
		finish((struct link *)c, CSA_PRODUCER_FINISHED);
	return 0;
}

void csa_eof(int32_t handle) { run_event(on_eof, "eof", handle, 0); }

static int on_timer(lua_State *l)
{
	struct event *e = event_of(l);
	struct connection *c;

	if (e->handle < 0) {
		run_timeouts();
		return 0;
	}
	c = begin(l, e);
	if (c->callbacks->has[ON_TIMER]) {
		push_call(l, c, ON_TIMER);
		lua_pushinteger(l, e->argument);
		call(l, c, ON_TIMER, 1);
	}
	return 0;
}

void csa_timer(int32_t handle, int32_t token)
{
	run_event(on_timer, "timer", handle, token);
	if (handle < 0)
		wake_for_first();
}

static int on_closed(lua_State *l)
{
	struct event *e = event_of(l);
	struct connection *c = begin(l, e);

	if (!resume_dialler(c, e->argument) && c->callbacks->has[ON_CLOSED]) {
		push_call(l, c, ON_CLOSED);
		lua_pushstring(l, code_name(e->argument));
		call(l, c, ON_CLOSED, 1);
	}
	return 0;
}

void csa_closed(int32_t handle, int32_t reason)
{
	struct connection *c = connection_of(handle);

	if (!c)
		return;
	c->holds++;
	run_event(on_closed, "closed", handle, reason);
	forget(c);
	let_go(c);
}

static int on_stop(lua_State *l)
{
	struct callbacks *k;

	lua_rawgeti(l, LUA_REGISTRYINDEX, handler);
	k = lua_touserdata(l, -1);
	if (k->has[ON_STOP]) {
		lua_getiuservalue(l, -1, ON_STOP + 1);
		run(NULL, "stop", false, l, 0);
	}
	return 0;
}

void csa_stop(void) { run_event(on_stop, "stop", -1, 0); }

/* --- Starting ---------------------------------------------------------------------- */

static int reseed(lua_State *l)
{
	lua_Integer seed[2];

	csa_v1_random(seed, sizeof seed);
	lua_rawgeti(l, LUA_REGISTRYINDEX, randomseed);
	lua_pushinteger(l, seed[0]);
	lua_pushinteger(l, seed[1]);
	lua_call(l, 2, 0);
	return 0;
}

void csa_reseed(void) { run_event(reseed, "reseed", -1, 0); }

static void read_config(lua_State *l)
{
	int32_t n = csa_v1_config(NULL, 0);
	char *text = lua_newuserdatauv(l, (size_t)n + 1, 0);

	csa_v1_config(text, n);
	decode_json(l, text, (size_t)n, "config");
	lua_remove(l, -2);
}

/* The first function of Lua in a table, by its line. NULL in ar->source: there is none. */
static void first_function(lua_State *l, int at, lua_Debug *ar)
{
	lua_Debug one;

	ar->source = NULL;
	for (lua_pushnil(l); lua_next(l, at); lua_pop(l, 1))
		if (lua_type(l, -1) == LUA_TFUNCTION) {
			lua_pushvalue(l, -1);
			lua_getinfo(l, ">S", &one);
			if (one.linedefined > 0 && (!ar->source || one.linedefined < ar->linedefined))
				*ar = one;
		}
}

/* Pushes where the handler at an index is wrong, as ", at line (x.lua:2)"; "": it is not known. */
static void push_place(lua_State *l, int at)
{
	const char *name = suspect, *text, *file;
	lua_Debug ar = {.source = NULL};
	struct file main;
	size_t length;
	int column;

	if (name && lua_istable(l, at) && lua_getfield(l, at, name) == LUA_TFUNCTION) {
		lua_getinfo(l, ">S", &ar);
		if (ar.linedefined > 0) {
			lua_pushfstring(l, ", at %s (%s:%d)", name, ar.short_src, ar.linedefined);
			return;
		}
		ar.source = NULL;
	}
	if (name && script(&file, &text, &length) && main_file(file, text, length, &main) &&
		find_name(&main, name, '=', "--", &ar.linedefined, &column)) {
		lua_pushlstring(l, main.path, main.path_length);
		lua_pushfstring(l, ", at %s (%s:%d)", name, lua_tostring(l, -1), ar.linedefined);
		return;
	}
	if (lua_istable(l, at))
		first_function(l, at, &ar);
	if (ar.source)
		lua_pushfstring(l, ", at a function (%s:%d)", ar.short_src, ar.linedefined);
	else
		lua_pushliteral(l, "");
}

static int read_handler(lua_State *l)
{
	read_callbacks(l, 1, true);
	return 1;
}

/* Takes what the script has returned, which is on the top, for its handler, and pushes its
 * callbacks. */
static void take_handler(lua_State *l)
{
	int at = lua_gettop(l);

	lua_pushcfunction(l, read_handler);
	lua_pushvalue(l, at);
	if (lua_pcall(l, 1, 1, 0) == LUA_OK)
		return;
	if (lua_type(l, -1) == LUA_TSTRING) {
		push_place(l, at);
		lua_pushfstring(l, "%s%s", lua_tostring(l, at + 1), lua_tostring(l, -1));
	}
	lua_error(l);
}

/* Defines what scripts have, runs the script, and takes the table that it returns. */
static int load(lua_State *l)
{
	struct event *e = event_of(l);
	const char *name, *text;
	size_t length;
	struct callbacks *k;

	e->answer = CSA_INVALID;
	define_library();
	define_json();
	define_connections();
	define_tasks();
	define_require();
	lua_getglobal(l, "math");
	lua_getfield(l, -1, "randomseed");
	randomseed = luaL_ref(l, LUA_REGISTRYINDEX);
	lua_pushcfunction(l, reseed);
	lua_call(l, 0, 0);
	read_config(l);
	lua_setglobal(l, "config");
	if (!script(&name, &text, &length))
		return luaL_error(l, "there is no script in this engine; bulkhead puts one in: plugin = \"handler.lua\"");
	load_main(l, name, text, length);
	if (run(NULL, e->what, false, l, 0) != DONE)
		return 0; /* it was reported */
	take_handler(l);
	k = lua_touserdata(l, -1);
	lua_pushvalue(l, -1);
	handler = luaL_ref(l, LUA_REGISTRYINDEX);
	if (k->has[ON_START]) {
		lua_getiuservalue(l, -1, ON_START + 1);
		lua_getglobal(l, "config");
		if (run(NULL, "start", false, l, 1) != DONE)
			return 0;
	}
	e->answer = CSA_OK;
	return 0;
}

int32_t csa_start(void)
{
	int32_t answer;

	L = lua_newstate(allocate, NULL);
	if (!L)
		return CSA_QUOTA;
	answer = run_event(load, "the script cannot be loaded", -1, 0);
	events_follow();
	/* Young collections leave the pages alone that the script and the libraries are in. */
	lua_gc(L, LUA_GCGEN, 0, 0);
	is_started = answer == CSA_OK;
	return answer;
}

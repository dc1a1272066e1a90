/* Functions of scripts run as tasks, which are coroutines, so that they can wait: for a time,
 * or for a connection that they dial. A task that does not wait costs no more than a
 * call, since the coroutine of the one before is used again. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#include "lstate.h" /* CallInfo */

struct task {
	lua_State *thread;
	int reference;    /* of the thread in the registry */
	struct connection *connection; /* whose event it is of, and held, or NULL */
	const char *what; /* for errors: "line" */
	bool blocks;      /* its connection is given nothing to read while it waits */
	bool waits;       /* it has yielded, and somebody will go on with it */
	bool has_waited;  /* once at least; then, if it blocks, its connection is blocked */
};

static struct task *spare;

/* The task that runs on a thread; NULL: that is a coroutine of the script's own, or the main
 * one. */
static struct task *task_of(lua_State *l)
{
	return *(struct task **)lua_getextraspace(l);
}

static struct task *new_task(lua_State *l)
{
	struct task *t = spare;

	if (t) {
		spare = NULL;
		return t;
	}
	luaL_checkstack(l, 1, "a task");
	lua_newthread(l);
	t = calloc(1, sizeof *t);
	if (!t)
		luaL_error(l, "not enough memory");
	t->thread = lua_tothread(l, -1);
	*(struct task **)lua_getextraspace(t->thread) = t;
	t->reference = luaL_ref(l, LUA_REGISTRYINDEX);
	return t;
}

static void end_task(struct task *t)
{
	if (t->connection) {
		if (t->has_waited && t->blocks && --t->connection->blocked == 0)
			update_reading(t->connection);
		let_go(t->connection);
	}
	t->connection = NULL;
	t->waits = t->has_waited = false;
	lua_settop(t->thread, 0);
	if (!spare) {
		spare = t;
		return;
	}
	*(struct task **)lua_getextraspace(t->thread) = NULL;
	luaL_unref(L, LUA_REGISTRYINDEX, t->reference);
	free(t);
}

/* What step does of a task that has ended with an error, whose message is on its stack. */
static void fail_task(struct task *t, lua_State *from, int status)
{
	if (status == LUA_YIELD) {
		lua_settop(t->thread, 0);
		lua_pushstring(t->thread, "coroutine.yield outside of a coroutine of the script's own; what waits is sleep and dial");
	}
	/* One that could not even begin is where from is. */
	fail(t->connection, t->what, t->thread, t->thread->ci == &t->thread->base_ci ? from : t->thread);
	lua_closethread(t->thread, from);
	end_task(t);
}

static void note_waiting(struct task *t)
{
	if (!t->has_waited && t->blocks && t->connection->blocked++ == 0)
		update_reading(t->connection);
	t->has_waited = true;
}

/* Begins a task, or goes on with one, with the arguments on its stack. When it is DONE, its
 * first result is pushed on from. */
static enum outcome step(struct task *t, lua_State *from, int args)
{
	struct connection *before = serving, *c = t->connection;
	int results, status;

	luaL_checkstack(from, LUA_MINSTACK, t->what);
	serving = c;
	t->waits = false;
	status = lua_resume(t->thread, from, args, &results);
	serving = before;
	if (status == LUA_YIELD && t->waits) {
		note_waiting(t);
		return WAITS;
	}
	if (status == LUA_OK) {
		if (results == 0)
			lua_pushnil(from);
		else {
			lua_settop(t->thread, lua_gettop(t->thread) - results + 1);
			lua_xmove(t->thread, from, 1);
		}
		if (t->has_waited && t->what == callback_names[ON_OPEN] && c->handle && lua_isboolean(from, -1) && !lua_toboolean(from, -1))
			csa_v1_control(c->handle, CSA_SHUTDOWN_MICROPROCESS); /* it is refused, late */
		end_task(t);
		return DONE;
	}
	fail_task(t, from, status);
	return FAILED;
}

/* Calls the function that is below its arguments on from, as a task. They are popped, and if
 * it is DONE its first result is pushed. what is what the log calls it. */
enum outcome run(struct connection *c, const char *what, bool blocks, lua_State *from, int args)
{
	struct task *t = new_task(from);

	if (!lua_checkstack(t->thread, args + LUA_MINSTACK))
		luaL_error(from, "stack overflow");
	t->what = what;
	t->blocks = blocks && c && !c->datagrams;
	t->connection = c;
	if (c)
		c->holds++; /* somebody holds it, whose event it is */
	lua_xmove(from, t->thread, args + 1);
	return step(t, from, args);
}

static int make_spare(lua_State *l)
{
	spare = new_task(l);
	return 0;
}

static int fail_one(lua_State *l)
{
	fail_task(lua_touserdata(l, 1), l, (int)lua_tointeger(l, 2));
	return 0;
}

/* Runs f, whose argument is event, as a task of c that blocks it. f calls the script by luaD_call,
 * and does not go on where that waits. What calls this need not be protected, as run's callers
 * are: to be so would cost each line a good deal. False: there is no memory for a task. */
bool run_event_of(struct connection *c, const char *what, Pfunc f, void *event)
{
	struct connection *before = serving;
	struct task *t;
	int status;

	if (!spare) {
		lua_pushcfunction(L, make_spare);
		status = lua_pcall(L, 0, 0, 0);
		lua_settop(L, 0);
		if (status != LUA_OK)
			return false;
	}
	t = spare;
	spare = NULL;
	t->what = what;
	t->blocks = !c->datagrams;
	t->connection = c;
	t->waits = false;
	c->holds++;
	serving = c;
	status = luaD_begin(t->thread, L, f, event);
	serving = before;
	if (status == LUA_OK)
		end_task(t);
	else if (status == LUA_YIELD && t->waits)
		note_waiting(t);
	else {
		lua_pushcfunction(L, fail_one);
		lua_pushlightuserdata(L, t);
		lua_pushinteger(L, status);
		if (lua_pcall(L, 2, 0, 0) != LUA_OK) /* there is no memory to say it */
			c->failed = true;
		lua_settop(L, 0);
	}
	return true;
}

/* --- Timeouts ------------------------------------------------------------------- */

#define TIMEOUT_LIMIT 10000

struct timeout {
	int64_t at; /* ns of the monotonic clock */
	int32_t id;
	int function;     /* a reference, or LUA_NOREF */
	struct task *task; /* who sleeps, or NULL */
	struct connection *connection; /* whose event has set it, held; or NULL */
};

static struct timeout *timeouts; /* by their time */
static int timeout_count, timeout_room;
static int32_t last_id;
static bool set; /* the instance's timer */

static int64_t now(void)
{
	return csa_v1_clock(CSA_CLOCK_MONOTONIC);
}

/* Sets the instance's timer, which is for the first of all timeouts. */
void wake_for_first(void)
{
	int64_t left;

	if (timeout_count == 0) {
		if (set)
			csa_v1_timer(-1, 0, -1);
		set = false;
		return;
	}
	left = (timeouts[0].at - now() + 999999) / 1000000;
	csa_v1_timer(-1, 0, left < 1 ? 1 : left > INT32_MAX ? INT32_MAX : (int32_t)left);
	set = true;
}

static int64_t milliseconds(lua_State *l, int at, const char *what)
{
	lua_Number ms = lua_tonumber(l, at);

	if (!lua_isnumber(l, at) || !(ms >= 0 && ms <= INT32_MAX))
		luaL_error(l, "%s takes milliseconds, 0 to %d", what, INT32_MAX);
	if (!started())
		luaL_error(l, "%s: there is no time before the first connection: the script is loaded once, for many", what);
	return (int64_t)(ms * 1e6);
}

static struct timeout *add_timeout(lua_State *l, int64_t delay)
{
	struct timeout made = {.at = now() + delay, .id = last_id + 1, .function = LUA_NOREF};
	int low = 0, high = timeout_count;

	if (timeout_count >= TIMEOUT_LIMIT)
		luaL_error(l, "%d timeouts wait already", TIMEOUT_LIMIT);
	if (timeout_count == timeout_room) {
		int room = timeout_room ? 2 * timeout_room : 4;
		struct timeout *more = realloc(timeouts, (size_t)room * sizeof *more);

		if (!more)
			luaL_error(l, "not enough memory");
		timeouts = more;
		timeout_room = room;
	}
	while (low < high) {
		int middle = (low + high) / 2;

		if (timeouts[middle].at <= made.at)
			low = middle + 1;
		else
			high = middle;
	}
	memmove(timeouts + low + 1, timeouts + low, (size_t)(timeout_count - low) * sizeof *timeouts);
	timeouts[low] = made;
	timeout_count++;
	last_id = made.id;
	if (low == 0)
		wake_for_first();
	return &timeouts[low];
}

static struct timeout take_timeout(int at)
{
	struct timeout taken = timeouts[at];

	timeout_count--;
	memmove(timeouts + at, timeouts + at + 1, (size_t)(timeout_count - at) * sizeof *timeouts);
	return taken;
}

/* sleep(ms) */
static int l_sleep(lua_State *l)
{
	struct task *t = task_of(l);
	int64_t delay = milliseconds(l, 1, "sleep");

	if (!t || !lua_isyieldable(l))
		luaL_error(l, "sleep waits, and here nothing can; begin what waits by spawn(function() ... end)");
	add_timeout(l, delay)->task = t;
	t->waits = true;
	return lua_yield(l, 0);
}

/* after(ms, function): an id for cancel. */
static int l_after(lua_State *l)
{
	int64_t delay = milliseconds(l, 1, "after");
	int function;
	struct timeout *made;

	luaL_checktype(l, 2, LUA_TFUNCTION);
	lua_settop(l, 2);
	function = luaL_ref(l, LUA_REGISTRYINDEX);
	made = add_timeout(l, delay);
	made->function = function;
	made->connection = serving;
	if (serving)
		serving->holds++;
	lua_pushinteger(l, made->id);
	return 1;
}

static int l_cancel(lua_State *l)
{
	lua_Integer id = luaL_checkinteger(l, 1);
	int i;

	for (i = 0; i < timeout_count; i++)
		if (timeouts[i].id == id && !timeouts[i].task) {
			struct timeout taken = take_timeout(i);

			luaL_unref(l, LUA_REGISTRYINDEX, taken.function);
			if (taken.connection)
				let_go(taken.connection);
			if (i == 0)
				wake_for_first();
			break;
		}
	return 0;
}

/* Runs those that are due and were set before. Each is an event of its connection. */
void run_timeouts(void)
{
	int64_t until = now();
	int32_t newest = last_id;

	while (timeout_count > 0 && timeouts[0].at <= until && timeouts[0].id - newest <= 0) {
		struct timeout due = take_timeout(0);

		lua_settop(L, 0);
		if (due.task) {
			step(due.task, L, 0);
			continue;
		}
		lua_rawgeti(L, LUA_REGISTRYINDEX, due.function);
		luaL_unref(L, LUA_REGISTRYINDEX, due.function);
		run(due.connection, "after", false, L, 0);
		if (due.connection)
			let_go(due.connection);
	}
}

/* --- Dialling -------------------------------------------------------------------- */

/* What dial answers, when the code is known, which is on the top of the stack. */
static int dialled(lua_State *l, int status, lua_KContext unused)
{
	int32_t code = (int32_t)lua_tointeger(l, -1);

	if (code == CSA_OK) {
		lua_pushvalue(l, 3);
		return 1;
	}
	lua_pushnil(l);
	lua_pushfstring(l, "dial %s: %s", lua_tostring(l, 1), code_name(code));
	lua_pushstring(l, code_name(code));
	return 3;
}

/* dial(address, handler): the connection when it is up; or nil, what went wrong, and the code. */
static int l_dial(lua_State *l)
{
	struct task *t = task_of(l);
	struct connection *c;
	size_t length;
	const char *address = luaL_checklstring(l, 1, &length);
	int32_t handle;

	if (!started())
		luaL_error(l, "dial: nothing can be dialled before the first connection: the script is loaded once, for many");
	if (!t || !lua_isyieldable(l))
		luaL_error(l, "dial waits, and here nothing can; begin what waits by spawn(function() ... end)");
	lua_settop(l, 2);
	if (lua_isnil(l, 2)) {
		lua_newtable(l);
		lua_replace(l, 2);
	}
	read_callbacks(l, 2, false);
	lua_replace(l, 2);
	c = new_connection(l, 2);
	hold(l, c);
	handle = csa_v1_connect(address, (int32_t)length);
	if (handle > 0 && !add_link((struct link *)c, handle)) {
		csa_v1_control(handle, CSA_SHUTDOWN_MICROPROCESS);
		handle = CSA_QUOTA;
	}
	if (handle <= 0) {
		let_go(c);
		lua_pushinteger(l, handle);
		return dialled(l, LUA_OK, 0);
	}
	c->dialler = t;
	t->waits = true;
	return lua_yieldk(l, 0, 0, dialled);
}

/* Goes on with who has dialled c, if somebody waits for that. */
bool resume_dialler(struct connection *c, int32_t code)
{
	struct task *t = c->dialler;

	if (!t)
		return false;
	c->dialler = NULL;
	lua_pushinteger(t->thread, code);
	step(t, L, 1);
	return true;
}

/* spawn(function, ...): begins it, beside what runs now. */
static int l_spawn(lua_State *l)
{
	luaL_checktype(l, 1, LUA_TFUNCTION);
	run(serving, "spawn", false, l, lua_gettop(l) - 1);
	return 0;
}

void define_tasks(void)
{
	*(struct task **)lua_getextraspace(L) = NULL;
	lua_register(L, "sleep", l_sleep);
	lua_register(L, "after", l_after);
	lua_register(L, "cancel", l_cancel);
	lua_register(L, "dial", l_dial);
	lua_register(L, "spawn", l_spawn);
}

/* Functions of scripts run as tasks, so that async ones can wait: for a time, or for a
 * connection that they dial. What waits is a coroutine, which has given its wait away: an
 * object of sleep or dial. A function that is not async costs no more than its call. */
#include <string.h>

#include "engine.h"

struct wait;

struct task {
	mp_obj_t coroutine;
	struct connection *connection; /* whose event it is of, and held, or NULL */
	const char *what; /* for errors: "line" */
	bool blocks;      /* its connection is given nothing to read while it waits */
	bool has_waited;  /* once at least; then, if it blocks, its connection is blocked */
	struct task *before, *after; /* in the list of all */
};

/* What sleep and dial answer, to be awaited once. */
struct wait {
	mp_obj_base_t base;
	enum { SLEEP, DIAL } kind;
	enum { NEW, BEGUN, OVER } state;
	int64_t delay;              /* ns */
	mp_obj_t address;
	struct connection *dialled; /* whose handler is read already */
	int32_t code;               /* how it has ended */
	struct task *task;          /* who waits for it */
};

struct timeout {
	int64_t at;    /* ns of the monotonic clock */
	int32_t id;
	mp_obj_t function;  /* MP_OBJ_NULL: it ends a wait */
	struct wait *wait;
	struct connection *connection; /* whose event has set it, held; or NULL */
};

MP_REGISTER_ROOT_POINTER(struct task *tasks);
MP_REGISTER_ROOT_POINTER(struct timeout *timeouts);
MP_REGISTER_ROOT_POINTER(struct wait *unawaited);
MP_REGISTER_ROOT_POINTER(struct wait *beginning);

static enum outcome step(struct task *t, mp_obj_t *result);

/* --- Timeouts ------------------------------------------------------------------- */

#define TIMEOUT_LIMIT 10000

/* They are in MP_STATE_VM(timeouts), by their time. */
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
	left = (MP_STATE_VM(timeouts)[0].at - now() + 999999) / 1000000;
	csa_v1_timer(-1, 0, left < 1 ? 1 : left > INT32_MAX ? INT32_MAX : (int32_t)left);
	set = true;
}

static int64_t milliseconds(mp_obj_t value, const char *what)
{
	mp_float_t ms;

	if (!mp_obj_get_float_maybe(value, &ms) || !(ms >= 0 && ms <= INT32_MAX))
		raise_text(&mp_type_ValueError, "%s takes milliseconds, 0 to %d", what, INT32_MAX);
	if (!started())
		raise_text(&mp_type_RuntimeError, "%s: there is no time before the first connection: the script is loaded once, for many", what);
	return (int64_t)(ms * 1e6);
}

static struct timeout *add_timeout(int64_t delay)
{
	struct timeout *all = MP_STATE_VM(timeouts), made = {.at = now() + delay, .id = last_id + 1};
	int low = 0, high = timeout_count;

	if (timeout_count >= TIMEOUT_LIMIT)
		raise_text(&mp_type_RuntimeError, "%d timeouts wait already", TIMEOUT_LIMIT);
	if (timeout_count == timeout_room) {
		int room = timeout_room ? 2 * timeout_room : 4;

		all = m_renew(struct timeout, all, timeout_room, room);
		MP_STATE_VM(timeouts) = all;
		timeout_room = room;
	}
	while (low < high) {
		int middle = (low + high) / 2;

		if (all[middle].at <= made.at)
			low = middle + 1;
		else
			high = middle;
	}
	memmove(all + low + 1, all + low, (size_t)(timeout_count - low) * sizeof *all);
	all[low] = made;
	timeout_count++;
	last_id = made.id;
	if (low == 0)
		wake_for_first();
	return &all[low];
}

static struct timeout take_timeout(int at)
{
	struct timeout *all = MP_STATE_VM(timeouts), taken = all[at];

	timeout_count--;
	memmove(all + at, all + at + 1, (size_t)(timeout_count - at) * sizeof *all);
	memset(all + timeout_count, 0, sizeof *all); /* the collector sees it */
	return taken;
}

/* after(ms, function): an id for cancel. */
static mp_obj_t py_after(mp_obj_t ms, mp_obj_t f)
{
	int64_t delay = milliseconds(ms, "after");
	struct timeout *made;

	if (!mp_obj_is_callable(f))
		raise_text(&mp_type_TypeError, "after takes milliseconds and a function, and was given a value of type %s", mp_obj_get_type_str(f));
	made = add_timeout(delay);
	made->function = f;
	made->connection = serving;
	if (serving)
		hold(serving);
	return mp_obj_new_int(made->id);
}
static MP_DEFINE_CONST_FUN_OBJ_2(py_after_obj, py_after);

static mp_obj_t py_cancel(mp_obj_t value)
{
	mp_int_t id = mp_obj_get_int(value);
	int i;

	for (i = 0; i < timeout_count; i++)
		if (MP_STATE_VM(timeouts)[i].id == id && MP_STATE_VM(timeouts)[i].function != MP_OBJ_NULL) {
			struct timeout taken = take_timeout(i);

			if (taken.connection)
				let_go(taken.connection);
			if (i == 0)
				wake_for_first();
			break;
		}
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(py_cancel_obj, py_cancel);

/* Goes on with who waits for w. */
static void end_wait(struct wait *w, int32_t code)
{
	struct task *t = w->task;

	w->code = code;
	w->state = OVER;
	w->task = NULL;
	if (t)
		step(t, NULL);
}

/* Runs those that are due and were set before. Each is an event of its connection. */
void run_timeouts(void)
{
	int64_t until = now();
	int32_t newest = last_id;

	while (timeout_count > 0 && MP_STATE_VM(timeouts)[0].at <= until && MP_STATE_VM(timeouts)[0].id - newest <= 0) {
		struct timeout due = take_timeout(0);

		if (due.function == MP_OBJ_NULL) {
			end_wait(due.wait, CSA_OK);
			continue;
		}
		run(due.connection, "after", false, due.function, 0, NULL, NULL);
		if (due.connection)
			let_go(due.connection);
	}
}

/* --- Tasks ----------------------------------------------------------------------- */

static void end_task(struct task *t)
{
	if (t->connection) {
		if (t->has_waited && t->blocks && --t->connection->blocked == 0)
			update_reading(t->connection);
		let_go(t->connection);
	}
	if (t->before)
		t->before->after = t->after;
	else
		MP_STATE_VM(tasks) = t->after;
	if (t->after)
		t->after->before = t->before;
}

static void begin_wait(struct wait *w, struct task *t)
{
	size_t length;
	const char *address;
	int32_t handle;
	struct connection *c = w->dialled;

	w->task = t;
	w->state = BEGUN;
	if (w->kind == SLEEP) {
		add_timeout(w->delay)->wait = w;
		return;
	}
	address = mp_obj_str_get_data(w->address, &length);
	hold(c);
	handle = csa_v1_connect(address, (int32_t)length);
	if (handle > 0 && !add_link((struct link *)&c->handle, handle)) {
		csa_v1_control(handle, CSA_SHUTDOWN_MICROPROCESS);
		handle = CSA_QUOTA;
	}
	c->dialler = w;
	if (handle <= 0) {
		c->dialler = NULL;
		let_go(c);
		w->code = handle;
		w->state = OVER;
	}
}

/* Begins a coroutine, or goes on with it, until it waits or is over. Its result, if to is
 * given, is for who has begun it. */
static enum outcome step(struct task *t, mp_obj_t *to)
{
	struct connection *before = serving, *c = t->connection;
	mp_vm_return_kind_t kind = MP_VM_RETURN_EXCEPTION;
	mp_obj_t result = MP_OBJ_NULL;
	enum outcome outcome = FAILED;
	bool collected = collects_in(t->coroutine);
	nlr_buf_t nlr;

	serving = c;
	if (nlr_push(&nlr) == 0) {
		kind = mp_obj_gen_resume(t->coroutine, mp_const_none, MP_OBJ_NULL, &result);
		if (kind == MP_VM_RETURN_YIELD && MP_STATE_VM(beginning) == NULL)
			raise_text(&mp_type_TypeError, "yield in %s: a callback waits by await, for sleep, dial or an async function", t->what);
		while (kind == MP_VM_RETURN_YIELD) {
			struct wait *w = MP_STATE_VM(beginning);

			MP_STATE_VM(beginning) = NULL;
			begin_wait(w, t);
			if (w->state != OVER)
				break;
			kind = mp_obj_gen_resume(t->coroutine, mp_const_none, MP_OBJ_NULL, &result);
		}
		nlr_pop();
	} else {
		kind = MP_VM_RETURN_EXCEPTION;
		result = MP_OBJ_FROM_PTR(nlr.ret_val);
	}
	end_collects(collected);
	serving = before;
	if (kind == MP_VM_RETURN_YIELD) {
		if (!t->has_waited && t->blocks && c->blocked++ == 0)
			update_reading(c);
		t->has_waited = true;
		return WAITS;
	}
	if (kind == MP_VM_RETURN_NORMAL) {
		outcome = DONE;
		if (to)
			*to = result;
		if (t->has_waited && t->what == callback_names[ON_OPEN] && c->handle && result == mp_const_false)
			csa_v1_control(c->handle, CSA_SHUTDOWN_MICROPROCESS); /* it is refused, late */
	} else
		fail(c, t->what, result);
	end_task(t);
	return outcome;
}

static struct task *new_task(struct connection *c, const char *what, bool blocks, mp_obj_t coroutine)
{
	struct task *t = m_new_obj(struct task);

	memset(t, 0, sizeof *t);
	t->coroutine = coroutine;
	t->what = what;
	t->blocks = blocks && c && !c->datagrams;
	t->connection = c;
	if (c)
		hold(c);
	t->after = MP_STATE_VM(tasks);
	if (t->after)
		t->after->before = t;
	MP_STATE_VM(tasks) = t;
	return t;
}

/* Calls f. If that is async, what it answers is run as a task. No error gets out. What it
 * returns, if it is DONE, goes to result, if that is given. what is what the log calls it. */
enum outcome run(struct connection *c, const char *what, bool blocks, mp_obj_t f, size_t args, mp_obj_t *argv, mp_obj_t *result)
{
	struct connection *before = serving;
	struct task *volatile t = NULL;
	mp_obj_t r;
	bool collected = collects_in(f);
	nlr_buf_t nlr;

	if (nlr_push(&nlr) == 0) {
		serving = c;
		r = mp_call_function_n_kw(f, args, 0, argv);
		end_collects(collected);
		if (mp_obj_is_type(r, &mp_type_gen_instance))
			t = new_task(c, what, blocks, r);
		nlr_pop();
	} else {
		end_collects(collected);
		serving = before;
		fail(c, what, MP_OBJ_FROM_PTR(nlr.ret_val));
		return FAILED;
	}
	serving = before;
	if (t)
		return step(t, result);
	if (result)
		*result = r;
	return DONE;
}

/* spawn(coroutine): begins it, beside what runs now. */
static mp_obj_t py_spawn(mp_obj_t coroutine)
{
	if (!mp_obj_is_type(coroutine, &mp_type_gen_instance))
		raise_text(&mp_type_TypeError, "spawn takes what an async function answers, as spawn(f(c)), and was given a value of type %s",
			mp_obj_get_type_str(coroutine));
	step(new_task(serving, "spawn", false, coroutine), NULL);
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(py_spawn_obj, py_spawn);

/* --- Waits ------------------------------------------------------------------------- */

/* await asks a wait for its next value: the first time it gives itself away, and then its
 * result is what await is worth. */
static mp_obj_t next_of_wait(mp_obj_t self)
{
	struct wait *w = MP_OBJ_TO_PTR(self);

	if (w == MP_STATE_VM(unawaited))
		MP_STATE_VM(unawaited) = NULL;
	if (w->state == NEW) {
		MP_STATE_VM(beginning) = w;
		return self;
	}
	if (w->state == BEGUN)
		raise_text(&mp_type_RuntimeError, "%s is awaited twice", w->kind == SLEEP ? "sleep" : "dial");
	if (w->kind == SLEEP)
		return MP_OBJ_STOP_ITERATION;
	if (w->code != CSA_OK)
		raise_text(&mp_type_OSError, "dial %s: %s", mp_obj_str_get_str(w->address), code_name(w->code));
	return mp_make_stop_iteration(MP_OBJ_FROM_PTR(w->dialled));
}

static const mp_rom_map_elem_t wait_table[] = {};
static MP_DEFINE_CONST_DICT(wait_members, wait_table);
static MP_DEFINE_CONST_OBJ_TYPE(wait_type, MP_QSTR_wait, MP_TYPE_FLAG_ITER_IS_ITERNEXT, iter, next_of_wait, locals_dict, &wait_members);

static struct wait *new_wait(int kind)
{
	struct wait *w = m_new_obj(struct wait);

	memset(w, 0, sizeof *w);
	w->base.type = &wait_type;
	w->kind = kind;
	MP_STATE_VM(unawaited) = w;
	return w;
}

/* At the end of an event: a wait that nobody awaits waits for nothing, and its author has
 * meant something else. */
void warn_of_unawaited(void)
{
	static const char text[] = "sleep or dial was called, and nothing awaits it, so that it does nothing; write: await sleep(ms), in an async def";

	if (!MP_STATE_VM(unawaited))
		return;
	MP_STATE_VM(unawaited) = NULL;
	csa_v1_log(CSA_LOG_WARN, text, sizeof text - 1);
}

static mp_obj_t py_sleep(mp_obj_t ms)
{
	int64_t delay = milliseconds(ms, "sleep");
	struct wait *w = new_wait(SLEEP);

	w->delay = delay;
	return MP_OBJ_FROM_PTR(w);
}
static MP_DEFINE_CONST_FUN_OBJ_1(py_sleep_obj, py_sleep);

/* dial(address, handler=None) */
static mp_obj_t py_dial(size_t n, const mp_obj_t *args)
{
	struct connection *c;
	struct wait *w;

	if (!started())
		raise_text(&mp_type_RuntimeError, "dial: nothing can be dialled before the first connection: the script is loaded once, for many");
	if (!mp_obj_is_str(args[0]))
		raise_text(&mp_type_TypeError, "dial takes an address, as \"tcp://10.0.0.1:25\", and was given a value of type %s", mp_obj_get_type_str(args[0]));
	c = new_connection(read_callbacks(n > 1 ? args[1] : mp_const_none, false));
	w = new_wait(DIAL);
	w->address = args[0];
	w->dialled = c;
	return MP_OBJ_FROM_PTR(w);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(py_dial_obj, 1, 2, py_dial);

/* Goes on with who has dialled c, if somebody waits for that. */
bool resume_dialler(struct connection *c, int32_t code)
{
	struct wait *w = c->dialler;

	if (!w)
		return false;
	c->dialler = NULL;
	end_wait(w, code);
	return true;
}

void define_tasks(void);
void define_tasks(void)
{
	set_builtin(MP_QSTR_sleep, MP_OBJ_FROM_PTR(&py_sleep_obj));
	set_builtin(MP_QSTR_after, MP_OBJ_FROM_PTR(&py_after_obj));
	set_builtin(MP_QSTR_cancel, MP_OBJ_FROM_PTR(&py_cancel_obj));
	set_builtin(MP_QSTR_dial, MP_OBJ_FROM_PTR(&py_dial_obj));
	set_builtin(MP_QSTR_spawn, MP_OBJ_FROM_PTR(&py_spawn_obj));
}

/* Starts a script, and calls it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#include "py/builtin.h"
#include "py/compile.h"
#include "py/lexer.h"

CSA_DEFINE_WINDOW(window, WINDOW)

MP_REGISTER_ROOT_POINTER(struct callbacks *handler); /* of accepted connections */

struct connection *serving;

static bool is_started;

bool started(void) { return is_started; }

/* --- Errors ------------------------------------------------------------------------ */

NORETURN void raise_text(const mp_obj_type_t *type, const char *format, ...)
{
	char text[400];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	nlr_raise(mp_obj_new_exception_args(type, 1, (mp_obj_t[]){
		mp_obj_new_str(text, n < (int)sizeof text ? (size_t)n : sizeof text - 1)}));
}

void nlr_jump_fail(void *value)
{
	__builtin_trap();
}

struct message { char *p; size_t n, room; };

static void add(void *to, const char *s, size_t len)
{
	struct message *m = to;

	for (; len > 0 && m->n < m->room; s++, len--)
		m->p[m->n++] = *s == '\n' ? ' ' : *s;
}

/* Logs an exception with what it was in and whose connection, and the calls that it came out
 * of. It takes one line. */
void report(struct connection *c, const char *what, mp_obj_t exception)
{
	char line[CSA_MAX_LOG_LINE];
	struct message message;
	mp_print_t to = {&message, add};
	const char *peer = c ? peer_of(c) : NULL;
	size_t n, count, *trace, i, length;
	struct calls calls;
	char call[CALL_ROOM];
	const char *file, *text;
	nlr_buf_t nlr;

	n = (size_t)snprintf(line, sizeof line, "%s%s%.250s: ", what, peer ? " of " : "", peer ? peer : "");
	message = (struct message){line, n, n + 600};
	if (nlr_push(&nlr) == 0) {
		mp_obj_print_helper(&to, exception, PRINT_EXC);
		nlr_pop();
	} else
		add(&message, ", and it cannot be told", 23);
	n = message.n;
	mp_obj_exception_get_traceback(exception, &count, &trace);
	begin_calls(&calls, line, n, sizeof line);
	for (i = 0; i + 2 < count && !calls.full; i += 3) {
		snprintf(call, sizeof call, "at %.60s (%.60s:%d)",
			trace[i + 2] == MP_QSTRnull || trace[i + 2] == MP_QSTR__lt_module_gt_ ? "the script" : qstr_str((qstr)trace[i + 2]),
			qstr_str((qstr)trace[i]), (int)trace[i + 1]);
		add_call(&calls, call);
	}
	n = end_calls(&calls);
	if (count == 0 && script(&file, &text, &length))
		n += (size_t)snprintf(line + n, sizeof line - n, ", in %.60s", file);
	csa_v1_log(CSA_LOG_ERROR, line, (int32_t)n);
}

/* Is report, and closes the connection, if there is one. */
void fail(struct connection *c, const char *what, mp_obj_t exception)
{
	if (c)
		c->failed = true;
	if (!c || c != serving)
		tell_failed(c ? (struct link *)&c->handle : NULL);
	report(c, what, exception);
}

/* --- Events -------------------------------------------------------------------------- */

struct event {
	const char *what; /* for errors: "line" */
	int32_t handle, argument;
	int32_t answer;
	struct connection *c; /* held, once begin has been called */
};

static bool is_refused; /* the event has ended because of what the peer has sent */

/* Makes c of the event. */
static struct connection *begin(struct event *e)
{
	struct connection *c = connection_of(e->handle);

	if (!c) {
		c = new_connection(MP_STATE_VM(handler));
		hold(c);
		if (!add_link((struct link *)&c->handle, e->handle)) {
			let_go(c);
			m_malloc_fail(sizeof *c);
		}
	}
	hold(c);
	e->c = serving = c;
	return c;
}

/* Runs an event, so that no error gets out of it: one of begin and the like is that there is
 * no memory. */
static int32_t run_event(void (*f)(struct event *e), const char *what, int32_t handle, int32_t argument)
{
	struct event event = {.what = what, .handle = handle, .argument = argument, .answer = CSA_OK};
	struct event *volatile e = &event; /* so that what is set before an error is there after it */
	volatile bool failed = false;
	nlr_buf_t nlr;

	enter(&nlr);
	begin_watch();
	is_refused = false;
	if (nlr_push(&nlr) == 0) {
		f(e);
		nlr_pop();
	} else {
		failed = true;
		e->answer = is_refused ? CSA_INVALID : CSA_QUOTA;
		if (e->c && !is_refused)
			fail(e->c, e->what, MP_OBJ_FROM_PTR(nlr.ret_val));
		else
			report(e->c, e->what, MP_OBJ_FROM_PTR(nlr.ret_val));
	}
	serving = NULL;
	flush_print();
	warn_of_unawaited();
	if (e->c) {
		e->c->secured_now = false;
		if (e->c->failed)
			tell_failed((struct link *)&e->c->handle);
		let_go(e->c);
	} else if (failed)
		handler_failed(handle);
	if (is_started)
		collect_between();
	return e->answer;
}

static bool has(struct connection *c, enum callback which)
{
	return c->callbacks->on[which].function != MP_OBJ_NULL;
}

/* Calls a function of c with it, and with argument, if that is given. */
static enum outcome call(struct connection *c, enum callback which, mp_obj_t argument, mp_obj_t *result)
{
	mp_obj_t args[3], f = c->callbacks->on[which].function;
	size_t n = 0;

	if (c->callbacks->on[which].self != MP_OBJ_NULL)
		args[n++] = c->callbacks->on[which].self;
	args[n++] = MP_OBJ_FROM_PTR(c);
	if (argument != MP_OBJ_NULL)
		args[n++] = argument;
	return run(c, callback_names[which], true, f, n, args, result);
}

static mp_obj_t code_text(int32_t code)
{
	const char *name = code_name(code);

	return mp_obj_new_str(name, strlen(name));
}

static void on_open(struct event *e)
{
	struct connection *c = begin(e);
	mp_obj_t result = mp_const_none;

	if (c->dialler) {
		open_link((struct link *)&c->handle);
		flush((struct link *)&c->handle);
		resume_dialler(c, CSA_OK);
		serving = c;
	}
	if (c->handle && !c->failed && has(c, ON_OPEN) && call(c, ON_OPEN, MP_OBJ_NULL, &result) == DONE && result == mp_const_false)
		e->answer = CSA_REFUSED;
}

int32_t csa_open(int32_t handle) { return run_event(on_open, "open", handle, 0); }

static bool reads(struct connection *c)
{
	return c->blocked == 0 && reading((struct link *)&c->handle);
}

/* Ends the event, and refuses what the peer has sent, which is no error of the script's. */
static void refuse(void)
{
	is_refused = true;
	raise_text(&mp_type_ValueError, "%s", problem);
}

static int32_t read_lines(struct connection *c, int32_t len)
{
	int32_t done = 0;

	while (done < len && reads(c) && has(c, ON_LINE)) {
		struct piece line;
		int32_t n = first_line((struct link *)&c->handle, window + done, len - done, &line);

		if (n < 0)
			refuse();
		if (n == 0)
			break;
		done += n;
		call(c, ON_LINE, c->callbacks->line_bytes ? mp_obj_new_bytes(line.p, (size_t)line.len) : text_of_bytes(line.p, (size_t)line.len), NULL);
	}
	return done;
}

static int32_t read_frames(struct connection *c, int32_t len)
{
	int32_t done = 0, needed = 1;

	while (done < len && reads(c) && has(c, ON_FRAME)) {
		struct piece frame;
		int32_t n = first_frame((struct link *)&c->handle, window + done, len - done, &frame, &needed);

		if (n < 0)
			refuse();
		if (n == 0)
			break;
		done += n;
		needed = 1;
		call(c, ON_FRAME, mp_obj_new_bytes(frame.p, (size_t)frame.len), NULL);
	}
	if (reads(c))
		want((struct link *)&c->handle, needed);
	return done;
}

static int32_t read_bytes(struct connection *c, int32_t len)
{
	mp_obj_t result = mp_const_none;
	mp_int_t n;
	char at[160];

	if (call(c, ON_DATA, mp_obj_new_bytes(window, (size_t)len), &result) != DONE || result == mp_const_none)
		return len;
	if (mp_obj_is_bool(result) || !mp_obj_is_int(result) || !mp_obj_get_int_maybe(result, &n) || n < 0 || n > len)
		raise_text(&mp_type_ValueError, "data answers how many bytes it has consumed, 0 to %d, or None for all of them", (int)len);
	if (n == 0 && len == WINDOW && !c->paused)
		warn_of_stuck((struct link *)&c->handle, place_of(c->callbacks->on[ON_DATA].function, "data", at, sizeof at) ? at : NULL);
	return (int32_t)n;
}

static void on_data(struct event *e)
{
	struct connection *c = begin(e);

	if (!reads(c))
		e->answer = c->failed || c->closing ? e->argument : 0;
	else if (has(c, ON_LINE)) {
		e->what = "line";
		e->answer = read_lines(c, e->argument);
	} else if (has(c, ON_FRAME)) {
		e->what = "frame";
		e->answer = read_frames(c, e->argument);
	} else if (has(c, ON_DATA))
		e->answer = read_bytes(c, e->argument);
	else {
		c->unread = true; /* until it gets a handler that reads, or is spliced */
		update_reading(c);
	}
}

int32_t csa_data(int32_t handle, int32_t len) { return run_event(on_data, "data", handle, len); }

static void on_writable(struct event *e)
{
	struct connection *c = begin(e);

	flush((struct link *)&c->handle);
	if (!c->handle || c->queued > 0 || !c->told_full || c->closing)
		return;
	c->told_full = false;
	if (has(c, ON_WRITABLE))
		call(c, ON_WRITABLE, MP_OBJ_NULL, NULL);
}

void csa_writable(int32_t handle) { run_event(on_writable, "writable", handle, 0); }

static void on_secured(struct event *e)
{
	struct connection *c = begin(e);

	flush((struct link *)&c->handle);
	if (has(c, ON_SECURED))
		call(c, ON_SECURED, code_text(e->argument), NULL);
}

void csa_secured(int32_t handle, int32_t status) { run_event(on_secured, "secured", handle, status); }

static void on_eof(struct event *e)
{
	struct connection *c = begin(e);

	if (has(c, ON_EOF))
		call(c, ON_EOF, MP_OBJ_NULL, NULL);
	else
		finish((struct link *)&c->handle, CSA_PRODUCER_FINISHED);
}

void csa_eof(int32_t handle) { run_event(on_eof, "eof", handle, 0); }

static void on_timer(struct event *e)
{
	struct connection *c;

	if (e->handle < 0) {
		run_timeouts();
		return;
	}
	c = begin(e);
	if (has(c, ON_TIMER))
		call(c, ON_TIMER, mp_obj_new_int(e->argument), NULL);
}

void csa_timer(int32_t handle, int32_t token)
{
	run_event(on_timer, "timer", handle, token);
	if (handle < 0)
		wake_for_first();
}

static void on_closed(struct event *e)
{
	struct connection *c = begin(e);

	if (!resume_dialler(c, e->argument) && has(c, ON_CLOSED))
		call(c, ON_CLOSED, code_text(e->argument), NULL);
}

void csa_closed(int32_t handle, int32_t reason)
{
	struct connection *c = connection_of(handle);

	if (!c)
		return;
	hold(c);
	run_event(on_closed, "closed", handle, reason);
	end_of(c);
	let_go(c);
}

static void on_stop(struct event *e)
{
	struct callbacks *k = MP_STATE_VM(handler);

	if (k->on[ON_STOP].function != MP_OBJ_NULL)
		run(NULL, "stop", false, k->on[ON_STOP].function, 0, NULL, NULL);
}

void csa_stop(void) { run_event(on_stop, "stop", -1, 0); }

static void reseed(struct event *e)
{
	seed_random();
}

void csa_reseed(void) { run_event(reseed, "reseed", -1, 0); }

/* --- Starting ---------------------------------------------------------------------- */

void define_tasks(void);

/* Says with an exception where the script has what is wrong, by its name; NULL: its first
 * function. */
static void add_place(mp_obj_t exception, const struct file *script, const char *name)
{
	mp_map_t *globals = &mp_module___main__.globals->map;
	qstr file, own = qstr_from_strn(script->path, script->path_length), at = name ? qstr_from_str(name) : MP_QSTRnull;
	size_t i, line, first = 0;
	int found, column;

	for (i = 0; i < globals->alloc; i++) {
		if (!mp_map_slot_is_filled(globals, i) || (name && strcmp(mp_obj_str_get_str(globals->table[i].key), name) != 0))
			continue;
		line = line_of_function(globals->table[i].value, &file);
		if (line > 0 && file == own && (first == 0 || line < first)) {
			first = line;
			at = mp_obj_str_get_qstr(globals->table[i].key);
		}
	}
	if (first == 0 && name && find_name(script, name, '=', "#", &found, &column))
		first = (size_t)found;
	if (first > 0)
		mp_obj_exception_add_traceback(exception, own, first, at);
}

/* The script's own functions. */
static struct callbacks *take_handler(const struct file *script)
{
	struct callbacks *k;
	nlr_buf_t nlr;

	if (nlr_push(&nlr) == 0) {
		k = read_callbacks(MP_OBJ_FROM_PTR(&mp_module___main__), true);
		nlr_pop();
		return k;
	}
	add_place(MP_OBJ_FROM_PTR(nlr.ret_val), script, suspect);
	nlr_raise(MP_OBJ_FROM_PTR(nlr.ret_val));
}

/* Defines what scripts have, runs the script, and takes its functions. */
static void load(struct event *e)
{
	const char *name, *text;
	size_t length;
	struct file main;
	struct callbacks *k;
	mp_obj_t config, script_object;

	e->answer = CSA_INVALID;
	seed_random();
	define_library();
	define_tasks();
	config = read_config();
	set_builtin(MP_QSTR_config, config);
	if (!script(&name, &text, &length))
		raise_text(&mp_type_RuntimeError, "there is no script in this engine; bulkhead puts one in: plugin = \"handler.py\"");
	if (!main_file(name, text, length, &main))
		raise_text(&mp_type_RuntimeError, "the script is not as the host makes it of several files; build it again");
	mp_lexer_t *lexer = mp_lexer_new_from_str_len(qstr_from_strn(main.path, main.path_length), main.text, main.length, 0);
	qstr source = lexer->source_name;
	mp_parse_tree_t tree = mp_parse(lexer, MP_PARSE_FILE_INPUT);
	script_object = mp_compile(&tree, source, false);
	if (run(NULL, e->what, false, script_object, 0, NULL, NULL) != DONE)
		return; /* it was reported */
	k = take_handler(&main);
	MP_STATE_VM(handler) = k;
	if (k->on[ON_START].function != MP_OBJ_NULL && run(NULL, "start", false, k->on[ON_START].function, 1, &config, NULL) != DONE)
		return;
	e->answer = CSA_OK;
}

int32_t csa_start(void)
{
	int32_t answer;

	start_memory();
	mp_init();
	answer = run_event(load, "the script cannot be loaded", -1, 0);
	is_started = answer == CSA_OK;
	collect_all();
	return answer;
}

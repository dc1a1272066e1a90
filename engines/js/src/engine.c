/* Starts a script, and calls it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

/* It begins a page, and what follows it is written to by events, too: see memory.h. */
static _Alignas(4096) uint8_t *window;

int64_t csa_window(void) { return (int64_t)((uint64_t)(uintptr_t)window << 32 | WINDOW); }

JSContext *ctx;
struct connection *serving;

static JSRuntime *rt;
static JSValue handler = JS_UNDEFINED; /* the callbacks of accepted connections */
static JSValue due = JS_UNDEFINED;     /* the prelude's */
static bool prepared, is_started;
static size_t pages_prepared; /* of memory, before there was a script */
static JSValue new_error = JS_UNDEFINED; /* the constructor, whose errors know their stack */
static int asked; /* how often this event's loops and calls have asked whether they may go on */

static uint64_t seed[2]; /* of Math.random; both 0: to be drawn */

bool started(void) { return is_started; }

/* --- Errors ------------------------------------------------------------------------ */

/* Appends an error's stack to the n bytes that are in line already, on one line: ", at f
 * (x.js:1:2), at g ...". Answers how many there are then, less than cap. */
static size_t append_calls(JSValueConst e, char *line, size_t n, size_t cap)
{
	JSValue stack = JS_IsError(ctx, e) ? JS_GetPropertyStr(ctx, e, "stack") : JS_UNDEFINED;
	const char *text = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL, *at, *end;
	struct calls calls;
	char call[CALL_ROOM];
	size_t length;

	begin_calls(&calls, line, n, cap);
	for (at = text; at && *at && !calls.full; at = *end ? end + 1 : end) {
		at += strspn(at, " ");
		end = at + strcspn(at, "\n");
		length = (size_t)(end - at) < sizeof call - 1 ? (size_t)(end - at) : sizeof call - 1;
		memcpy(call, at, length);
		call[length] = 0;
		if (length > 0)
			add_call(&calls, call);
	}
	if (text)
		JS_FreeCString(ctx, text);
	JS_FreeValue(ctx, stack);
	return end_calls(&calls);
}

/* Logs the exception that is pending, with what it was in and whose connection. It takes
 * one line: the calls of the stack follow each other. */
void report(struct connection *c, const char *what)
{
	JSValue e = JS_GetException(ctx);
	char line[CSA_MAX_LOG_LINE];
	const char *message;
	size_t n = 0;
	int part = snprintf(line, sizeof line, "%s", what);

	n = part > 0 ? (size_t)part : 0;
	if (c && c->peer)
		n += snprintf(line + n, sizeof line - n, " of %.250s", c->peer);
	message = JS_ToCString(ctx, e);
	if (!message)
		JS_FreeValue(ctx, JS_GetException(ctx));
	part = snprintf(line + n, sizeof line - n, ": %.600s%s", message ? message : "an error that is no text",
		JS_IsError(ctx, e) ? "" : " was thrown, which is no Error and has no line");
	n += part > 0 ? (size_t)part : 0;
	if (n > sizeof line - 1)
		n = sizeof line - 1;
	n = append_calls(e, line, n, sizeof line);
	csa_v1_log(CSA_LOG_ERROR, line, (int32_t)n);
	if (message)
		JS_FreeCString(ctx, message);
	JS_FreeValue(ctx, e);
}

/* Is report, and closes the connection, if there is one. */
void fail(struct connection *c, const char *what)
{
	report(c, what);
	if (c)
		c->failed = true;
	if (!c || c != serving)
		tell_failed((struct link *)c);
}

/* QuickJS calls this after some ten thousand rounds of loops and calls. It writes down where
 * the script is, and has it go on: the host alone stops an event. */
static int watch_event(JSRuntime *runtime, void *opaque)
{
	static bool busy;
	char text[WHERE_ROOM];
	JSValue e;

	if (++asked % 8 != 0 || busy)
		return 0;
	busy = true; /* what is called here asks, too */
	e = JS_CallConstructor(ctx, new_error, 0, NULL);
	if (JS_IsException(e)) {
		JS_FreeValue(ctx, JS_GetException(ctx));
	} else {
		text[append_calls(e, text, 0, sizeof text)] = 0;
		set_where(text);
		JS_FreeValue(ctx, e);
	}
	busy = false;
	return 0;
}

/* What begins takes its own time. */
static void begin_watch(void)
{
	asked = 0;
	clear_where();
}

/* Promises that were rejected in this event, and that nobody has handled yet. */
#define REJECTED 32
static JSValue rejected[REJECTED];
static int rejections;

static void track(JSContext *x, JSValueConst promise, JSValueConst reason, int handled, void *opaque)
{
	int i;

	if (!handled) {
		if (rejections < REJECTED)
			rejected[rejections++] = JS_DupValue(x, promise);
		return;
	}
	for (i = 0; i < rejections; i++)
		if (JS_VALUE_GET_PTR(rejected[i]) == JS_VALUE_GET_PTR(promise)) {
			JS_FreeValue(x, rejected[i]);
			rejected[i] = rejected[--rejections];
			return;
		}
}

/* Runs what promises wait for. What is rejected then, and handled by nobody, ends the
 * connection whose event it is. */
void run_jobs(void)
{
	JSContext *x;
	int n;

	while ((n = JS_ExecutePendingJob(rt, &x)) != 0)
		if (n < 0)
			fail(serving, "a promise");
	while (rejections > 0) {
		JSValue promise = rejected[--rejections];

		JS_Throw(ctx, JS_PromiseResult(ctx, promise));
		JS_FreeValue(ctx, promise);
		fail(serving, "a promise that nobody handles");
	}
}

/* The promise that a callback has returned was rejected: data is the connection, or
 * undefined, and the callback's name. */
static JSValue rejected_later(JSContext *x, JSValueConst self, int argc, JSValueConst *argv, int magic, JSValue *data)
{
	struct connection *c = NULL;
	JSClassID class;

	if (JS_IsObject(data[0]))
		c = JS_GetAnyOpaque(data[0], &class);
	JS_Throw(x, JS_DupValue(x, argv[0]));
	fail(c, callback_names[magic]);
	return JS_UNDEFINED;
}

static void watch(JSValueConst promise, struct connection *c, enum callback which)
{
	JSValue data[1] = {c ? c->object : JS_UNDEFINED}, args[2], r;
	JSAtom then = JS_NewAtom(ctx, "then");

	args[0] = JS_UNDEFINED;
	args[1] = JS_NewCFunctionData(ctx, rejected_later, 1, which, 1, data);
	r = JS_Invoke(ctx, promise, then, 2, args);
	if (JS_IsException(r))
		fail(c, callback_names[which]);
	JS_FreeValue(ctx, r);
	JS_FreeValue(ctx, args[1]);
	JS_FreeAtom(ctx, then);
}

/* --- Calls ------------------------------------------------------------------------ */

/* Calls one of the functions, if there is one, for c or for nobody. False: it was not
 * there, or an error was not caught. The result, if to is given, is the caller's. */
static bool call(struct connection *c, JSValueConst callbacks, enum callback which, int argc, JSValue *argv, JSValue *to)
{
	struct callbacks *k = JS_GetAnyOpaque(callbacks, &(JSClassID){0});
	JSValue r, f, hold;

	if (JS_IsUndefined(k->function[which]))
		return false;
	hold = JS_DupValue(ctx, callbacks); /* the call may put others in their place */
	f = JS_DupValue(ctx, k->function[which]);
	r = JS_Call(ctx, f, k->object, argc, argv);
	JS_FreeValue(ctx, f);
	JS_FreeValue(ctx, hold);
	if (JS_IsException(r))
		fail(c, callback_names[which]);
	else if (JS_IsObject(r) && (int)JS_PromiseState(ctx, r) >= 0)
		watch(r, c, which);
	run_jobs();
	if (to && !JS_IsException(r))
		*to = r;
	else
		JS_FreeValue(ctx, r);
	return !JS_IsException(r) && !(c && c->failed);
}

static bool has(struct connection *c, enum callback which)
{
	return !JS_IsUndefined(callbacks_of(c)->function[which]);
}

/* Begins and ends an event of c. Its object is held meanwhile, whatever happens. */
static struct connection *begin(int32_t handle)
{
	struct connection *c = known(handle, handler);

	serving = c;
	begin_watch();
	JS_UpdateStackTop(rt);
	if (c)
		JS_DupValue(ctx, c->object);
	return c;
}

static void end(struct connection *c, JSValue object)
{
	serving = NULL;
	if (c->failed)
		tell_failed((struct link *)c);
	JS_FreeValue(ctx, object);
}

/* --- Starting ---------------------------------------------------------------------- */

static JSValue native_now(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	return JS_NewFloat64(x, (double)csa_v1_clock(CSA_CLOCK_MONOTONIC) / 1e6);
}

static JSValue native_wake(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	int32_t ms, code;

	if (JS_ToInt32(x, &ms, argv[0]))
		return JS_EXCEPTION;
	if (!is_started)
		return JS_ThrowTypeError(x, "there are no timeouts before the first connection: the script is loaded once, for many");
	code = csa_v1_timer(-1, 0, ms);
	return code < 0 ? JS_Throw(x, code_error("setTimeout", code)) : JS_UNDEFINED;
}

static JSValue native_serving(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	return serving && serving->handle ? JS_DupValue(x, serving->object) : JS_UNDEFINED;
}

static JSValue js_random(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	uint64_t a, b;

	while (seed[0] == 0 && seed[1] == 0)
		csa_v1_random(seed, sizeof seed);
	a = seed[0];
	b = seed[0] = seed[1];
	a ^= a << 23;
	seed[1] = a ^ b ^ a >> 18 ^ b >> 5;
	return JS_NewFloat64(x, (double)((seed[1] + b) >> 11) * 0x1p-53);
}

static JSValue js_log(JSContext *x, JSValueConst self, int argc, JSValueConst *argv, int level)
{
	char line[CSA_MAX_LOG_LINE];
	size_t n = 0, len;
	int i;

	for (i = 0; i < argc; i++) {
		const char *s = JS_ToCStringLen(x, &len, argv[i]);

		if (!s)
			return JS_EXCEPTION;
		if (i > 0 && n < sizeof line)
			line[n++] = ' ';
		if (len > sizeof line - n)
			len = sizeof line - n;
		memcpy(line + n, s, len);
		n += len;
		JS_FreeCString(x, s);
	}
	csa_v1_log(level, line, (int32_t)n);
	return JS_UNDEFINED;
}

static JSValue js_count(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *name;
	size_t len;
	int64_t n = 1;
	int32_t code;

	if (!JS_IsUndefined(argv[1]) && JS_ToInt64(x, &n, argv[1]))
		return JS_EXCEPTION;
	name = JS_ToCStringLen(x, &len, argv[0]);
	if (!name)
		return JS_EXCEPTION;
	code = csa_v1_count(name, (int32_t)len, n);
	JS_FreeCString(x, name);
	return code < 0 ? JS_Throw(x, code_error("count", code)) : JS_UNDEFINED;
}

static const JSCFunctionListEntry natives[] = {
	JS_CFUNC_DEF("now", 0, native_now),
	JS_CFUNC_DEF("wake", 1, native_wake),
	JS_CFUNC_DEF("serving", 0, native_serving),
};

static const char prelude[] = {
#embed "prelude.js"
	, 0};

static JSModuleDef *no_imports(JSContext *x, const char *name, void *opaque)
{
	JS_ThrowReferenceError(x, "import of \"%s\": a handler is one file; put what it needs into it, or bundle it", name);
	return NULL;
}

/* The functions are methods of log too: log.warn("..."). */
static int define_log(JSValueConst global)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	JSValue log = JS_NewCFunctionMagic(ctx, js_log, "log", 1, JS_CFUNC_generic_magic, CSA_LOG_INFO);
	int i;

	for (i = CSA_LOG_DEBUG; i <= CSA_LOG_ERROR; i++)
		JS_SetPropertyStr(ctx, log, names[i], JS_NewCFunctionMagic(ctx, js_log, names[i], 1, JS_CFUNC_generic_magic, i));
	JS_SetPropertyStr(ctx, log, "log", JS_NewCFunctionMagic(ctx, js_log, "log", 1, JS_CFUNC_generic_magic, CSA_LOG_INFO));
	JS_SetPropertyStr(ctx, global, "console", JS_DupValue(ctx, log));
	return JS_SetPropertyStr(ctx, global, "log", log);
}

static JSValue read_config(void)
{
	int32_t n = csa_v1_config(NULL, 0);
	char *text = malloc((size_t)n + 1);
	JSValue v;

	if (!text)
		return JS_ThrowOutOfMemory(ctx);
	csa_v1_config(text, n);
	text[n] = 0;
	v = JS_ParseJSON(ctx, text, (size_t)n, "config");
	free(text);
	return v;
}

static bool define_globals(void)
{
	JSValue global = JS_GetGlobalObject(ctx), math, native, f;
	bool ok = false;

	new_error = JS_GetPropertyStr(ctx, global, "Error");
	math = JS_GetPropertyStr(ctx, global, "Math");
	JS_SetPropertyStr(ctx, math, "random", JS_NewCFunction(ctx, js_random, "random", 0));
	JS_FreeValue(ctx, math);
	JS_SetPropertyStr(ctx, global, "count", JS_NewCFunction(ctx, js_count, "count", 2));
	define_log(global);
	define_bytes(global);
	if (define_connections(global) < 0 || define_hashes(global) < 0)
		goto out;
	native = JS_NewObject(ctx);
	JS_SetPropertyFunctionList(ctx, native, natives, sizeof natives / sizeof *natives);
	f = JS_Eval(ctx, prelude, sizeof prelude - 1, "prelude.js", JS_EVAL_TYPE_GLOBAL);
	due = JS_IsException(f) ? JS_EXCEPTION : JS_Call(ctx, f, JS_UNDEFINED, 1, &native);
	JS_FreeValue(ctx, f);
	JS_FreeValue(ctx, native);
	ok = !JS_IsException(due);
out:
	JS_FreeValue(ctx, global);
	return ok;
}

/* Runs the script, an ES module, and takes its default export. */
static bool load_script(void)
{
	const char *name, *text;
	size_t length;
	JSValue module, r, exports, object;
	JSModuleDef *definition;

	if (!script(&name, &text, &length)) {
		JS_ThrowTypeError(ctx, "there is no script in this engine; bulkhead puts one in: plugin = \"handler.js\"");
		return false;
	}
	module = JS_Eval(ctx, text, length, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
	if (JS_IsException(module))
		return false;
	definition = JS_VALUE_GET_PTR(module);
	pieces_are_written(OFTEN); /* what the script makes, and not its code */
	r = JS_EvalFunction(ctx, module);
	if (JS_IsException(r))
		return false;
	for (JSContext *x; JS_ExecutePendingJob(rt, &x) > 0;)
		;
	if (JS_PromiseState(ctx, r) == JS_PROMISE_REJECTED) {
		/* Its own rejection is what is reported, and not that nobody handled it. */
		while (rejections > 0)
			JS_FreeValue(ctx, rejected[--rejections]);
		JS_Throw(ctx, JS_PromiseResult(ctx, r));
		return false;
	}
	if (JS_PromiseState(ctx, r) == JS_PROMISE_PENDING) {
		JS_ThrowTypeError(ctx, "the script awaits something while it is loaded, which nothing can end");
		return false;
	}
	JS_FreeValue(ctx, r);
	exports = JS_GetModuleNamespace(ctx, definition);
	object = JS_GetPropertyStr(ctx, exports, "default");
	JS_FreeValue(ctx, exports);
	handler = read_callbacks(object, true);
	if (JS_IsException(handler))
		add_place(object, suspect);
	JS_FreeValue(ctx, object);
	return !JS_IsException(handler);
}

/* Makes what is the same for all scripts: QuickJS's runtime, and what it has besides the
 * language. False: it cannot. */
static bool prepare(void)
{
	/* It is the first piece of the C library's, which begins behind all that has a fixed
	 * place. What events write to of that comes last, so that it shares a page with a short
	 * message. */
	window = malloc(WINDOW);
	pieces_are_written(NEXT);
	rt = JS_NewRuntime2(&memory_functions, NULL);
	if (!window || !rt)
		return false;
	/* The engine's own limit comes before the host's, so that endless recursion is an
	 * exception with a line, and not the end of the instance. */
	JS_SetMaxStackSize(rt, 64 << 10);
	JS_SetHostPromiseRejectionTracker(rt, track, NULL);
	JS_SetInterruptHandler(rt, watch_event, NULL);
	JS_SetModuleLoaderFunc(rt, NULL, no_imports, NULL);
	pieces_are_written(NEXT);
	ctx = JS_NewContext(rt);
	if (!ctx || !define_globals())
		return false;
	pieces_are_written(OFTEN);
	use_connections();
	pieces_are_written(RARELY);
	JS_RunGC(rt); /* it puts objects into an order, which csa_start changes little then */
	pages_prepared = __builtin_wasm_memory_size(0);
	return true;
}

/* The host may call it before it puts a script into the memory, once for any number of scripts of
 * all tenants, whose instances then begin as copies of this one. So nothing here is anybody's, and
 * nothing is drawn at random. */
__attribute__((export_name("bulkhead_prepare"))) void bulkhead_prepare(void) { prepared = prepare(); }

int32_t csa_start(void)
{
	JSValue global, config;

	if (!prepared && !prepare())
		return CSA_QUOTA;
	JS_UpdateStackTop(rt);
	global = JS_GetGlobalObject(ctx);
	config = read_config();
	if (JS_IsException(config) || JS_SetPropertyStr(ctx, global, "config", config) < 0 || !load_script()) {
		report(NULL, "the script cannot be loaded");
		return CSA_INVALID;
	}
	config = JS_GetPropertyStr(ctx, global, "config"); /* the script may have put another there */
	JS_FreeValue(ctx, global);
	if (!JS_IsUndefined(((struct callbacks *)JS_GetAnyOpaque(handler, &(JSClassID){0}))->function[ON_START]) &&
		!call(NULL, handler, ON_START, 1, &config, NULL))
		return CSA_INVALID;
	JS_FreeValue(ctx, config);
	/* It takes more than to load a short script, which leaves little. */
	if (__builtin_wasm_memory_size(0) > pages_prepared)
		JS_RunGC(rt);
	/* QuickJS has a list of all objects. The next one is written down in the last. */
	JS_NewObject(ctx);
	is_started = true;
	return CSA_OK;
}

void csa_reseed(void)
{
	seed[0] = seed[1] = 0;
}

/* --- Events -------------------------------------------------------------------------- */

int32_t csa_open(int32_t handle)
{
	struct connection *c = begin(handle);
	JSValue object, r = JS_UNDEFINED, resolve;
	int32_t code = CSA_OK;

	if (!c) {
		handler_failed(handle); /* there is no memory for it */
		return CSA_OK;
	}
	object = c->object;
	if (!JS_IsUndefined(c->resolve)) {
		resolve = c->resolve;
		JS_FreeValue(ctx, c->reject);
		c->resolve = c->reject = JS_UNDEFINED;
		open_link((struct link *)c);
		flush((struct link *)c);
		JS_FreeValue(ctx, JS_Call(ctx, resolve, JS_UNDEFINED, 1, &object));
		JS_FreeValue(ctx, resolve);
		run_jobs();
	}
	if (c->handle && !c->failed && has(c, ON_OPEN) && call(c, c->callbacks, ON_OPEN, 1, &object, &r)) {
		if (JS_IsBool(r) && !JS_ToBool(ctx, r))
			code = CSA_REFUSED;
	}
	JS_FreeValue(ctx, r);
	end(c, object);
	return code;
}

/* Refuses what the peer has sent, which is no error of the script's. */
static int32_t refuse(struct connection *c, const char *what)
{
	JS_ThrowRangeError(ctx, "%s", problem);
	report(c, what);
	return CSA_INVALID;
}

static int32_t read_lines(struct connection *c, int32_t len)
{
	int32_t done = 0;

	while (done < len && reading((struct link *)c) && has(c, ON_LINE)) {
		struct piece line;
		int32_t n = first_line((struct link *)c, window + done, len - done, &line);
		JSValue args[2];

		if (n < 0)
			return refuse(c, "line");
		if (n == 0)
			break;
		done += n;
		args[0] = c->object;
		args[1] = callbacks_of(c)->line_bytes ? new_bytes(line.p, (size_t)line.len) : JS_NewStringLen(ctx, (const char *)line.p, (size_t)line.len);
		if (JS_IsException(args[1])) {
			fail(c, "line");
			break;
		}
		call(c, c->callbacks, ON_LINE, 2, args, NULL);
		JS_FreeValue(ctx, args[1]);
	}
	return done;
}

static int32_t read_frames(struct connection *c, int32_t len)
{
	int32_t done = 0, needed = 1;

	while (done < len && reading((struct link *)c) && has(c, ON_FRAME)) {
		struct piece frame;
		int32_t n = first_frame((struct link *)c, window + done, len - done, &frame, &needed);
		JSValue args[2];

		if (n < 0)
			return refuse(c, "frame");
		if (n == 0)
			break;
		args[0] = c->object;
		args[1] = new_bytes(frame.p, (size_t)frame.len);
		if (JS_IsException(args[1])) {
			fail(c, "frame");
			break;
		}
		done += n;
		needed = 1;
		call(c, c->callbacks, ON_FRAME, 2, args, NULL);
		JS_FreeValue(ctx, args[1]);
	}
	if (reading((struct link *)c))
		want((struct link *)c, needed);
	return done;
}

/* Where data of c is, as warn_of_stuck takes it. */
static void tell_stuck(struct connection *c)
{
	char text[400];
	const char *at = place_of(callbacks_of(c)->function[ON_DATA], "data", text, sizeof text) ? text + strspn(text, " ") : NULL;

	if (at)
		text[at - text + strcspn(at, "\n")] = 0;
	warn_of_stuck((struct link *)c, at);
}

static int32_t read_bytes(struct connection *c, int32_t len)
{
	JSValue args[2] = {c->object, new_bytes(window, (size_t)len)}, r = JS_UNDEFINED;
	double n = len;

	if (JS_IsException(args[1])) {
		fail(c, "data");
		return 0;
	}
	if (call(c, c->callbacks, ON_DATA, 2, args, &r) && JS_IsNumber(r)) {
		JS_ToFloat64(ctx, &n, r);
		if (!(n >= 0 && n <= len && n == (int32_t)n)) {
			JS_ThrowRangeError(ctx, "data answers how many bytes it has consumed, 0 to %d, or nothing for all of them; it answered %g", (int)len, n);
			fail(c, "data");
			n = 0;
		}
	}
	JS_FreeValue(ctx, r);
	JS_FreeValue(ctx, args[1]);
	if (n == 0 && len == WINDOW && !c->paused)
		tell_stuck(c);
	return (int32_t)n;
}

int32_t csa_data(int32_t handle, int32_t len)
{
	struct connection *c = begin(handle);
	JSValue object;
	int32_t done = 0;

	if (!c) {
		handler_failed(handle);
		return 0;
	}
	object = c->object;
	if (!reading((struct link *)c))
		done = c->failed || c->closing ? len : 0;
	else if (has(c, ON_LINE))
		done = read_lines(c, len);
	else if (has(c, ON_FRAME))
		done = read_frames(c, len);
	else if (has(c, ON_DATA))
		done = read_bytes(c, len);
	else {
		c->unread = true; /* until it gets a handler that reads, or is spliced */
		csa_v1_receive(handle, 0);
	}
	c->secured_now = false;
	end(c, object);
	return done;
}

void csa_writable(int32_t handle)
{
	struct connection *c = begin(handle);
	JSValue object;

	if (!c)
		return;
	object = c->object;
	flush((struct link *)c);
	if (c->handle && c->queued == 0 && c->told_full && !c->closing) {
		c->told_full = false;
		call(c, c->callbacks, ON_WRITABLE, 1, &object, NULL);
	}
	end(c, object);
}

void csa_secured(int32_t handle, int32_t status)
{
	struct connection *c = begin(handle);
	JSValue args[2];

	if (!c)
		return;
	args[0] = c->object;
	c->secured_now = false;
	flush((struct link *)c);
	args[1] = JS_NewString(ctx, code_name(status));
	call(c, c->callbacks, ON_SECURED, 2, args, NULL);
	JS_FreeValue(ctx, args[1]);
	end(c, args[0]);
}

void csa_eof(int32_t handle)
{
	struct connection *c = begin(handle);
	JSValue object;

	if (!c)
		return;
	object = c->object;
	if (has(c, ON_EOF))
		call(c, c->callbacks, ON_EOF, 1, &object, NULL);
	else
		finish((struct link *)c, CSA_PRODUCER_FINISHED);
	end(c, object);
}

/* Timeouts are the instance's timer 0. Each is an event of the connection that set it. */
static void run_timeouts(void)
{
	for (;;) {
		JSValue pair = JS_Call(ctx, due, JS_UNDEFINED, 0, NULL), f, object, r;
		JSClassID class;
		struct connection *c = NULL;

		if (JS_IsException(pair))
			report(NULL, "setTimeout");
		if (!JS_IsObject(pair))
			return;
		f = JS_GetPropertyUint32(ctx, pair, 0);
		object = JS_GetPropertyUint32(ctx, pair, 1);
		JS_FreeValue(ctx, pair);
		if (JS_IsObject(object))
			c = JS_GetAnyOpaque(object, &class);
		serving = c;
		r = JS_Call(ctx, f, JS_UNDEFINED, 0, NULL);
		if (JS_IsException(r))
			fail(c, "setTimeout");
		else if (JS_IsObject(r) && (int)JS_PromiseState(ctx, r) >= 0)
			watch(r, c, ON_TIMER);
		run_jobs();
		JS_FreeValue(ctx, r);
		JS_FreeValue(ctx, f);
		serving = NULL;
		if (c && c->failed)
			tell_failed((struct link *)c);
		JS_FreeValue(ctx, object);
	}
}

void csa_timer(int32_t handle, int32_t token)
{
	struct connection *c;
	JSValue args[2];

	if (handle < 0) {
		begin_watch();
		JS_UpdateStackTop(rt);
		run_timeouts();
		return;
	}
	c = begin(handle);
	if (!c)
		return;
	args[0] = c->object;
	args[1] = JS_NewInt32(ctx, token);
	call(c, c->callbacks, ON_TIMER, 2, args, NULL);
	end(c, args[0]);
}

void csa_closed(int32_t handle, int32_t reason)
{
	struct connection *c = find(handle);
	JSValue args[2], reject, e;

	if (!c)
		return;
	begin(handle);
	args[0] = c->object;
	if (!JS_IsUndefined(c->reject)) {
		reject = c->reject;
		JS_FreeValue(ctx, c->resolve);
		c->resolve = c->reject = JS_UNDEFINED;
		e = code_error("dial", reason);
		serving = NULL;
		JS_FreeValue(ctx, JS_Call(ctx, reject, JS_UNDEFINED, 1, &e));
		run_jobs();
		JS_FreeValue(ctx, e);
		JS_FreeValue(ctx, reject);
	} else {
		args[1] = JS_NewString(ctx, code_name(reason));
		call(c, c->callbacks, ON_CLOSED, 2, args, NULL);
		JS_FreeValue(ctx, args[1]);
	}
	if (c->failed)
		tell_failed((struct link *)c);
	serving = NULL;
	forget(c);
	JS_FreeValue(ctx, args[0]);
}

void csa_stop(void)
{
	begin_watch();
	JS_UpdateStackTop(rt);
	call(NULL, handler, ON_STOP, 0, NULL, NULL);
}

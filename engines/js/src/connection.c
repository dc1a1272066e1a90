/* The connection object of scripts, its queue of unsent bytes, and the table of all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

const struct limit_names limit_names = {"lineLimit", "frameLimit", "queueLimit"};

static JSClassID connection_class, callbacks_class;

/* --- Callbacks ---------------------------------------------------------------- */

const char *const callback_names[CALLBACKS] = {
	"start", "open", "data", "line", "frame", "eof", "writable",
	"secured", "timer", "closed", "stop",
};

static void end_callbacks(JSRuntime *rt, JSValue v)
{
	struct callbacks *k = JS_GetOpaque(v, callbacks_class);
	int i;

	if (!k)
		return;
	for (i = 0; i < CALLBACKS; i++)
		JS_FreeValueRT(rt, k->function[i]);
	JS_FreeValueRT(rt, k->object);
	free(k);
}

static void mark_callbacks(JSRuntime *rt, JSValueConst v, JS_MarkFunc *mark)
{
	struct callbacks *k = JS_GetOpaque(v, callbacks_class);
	int i;

	if (!k)
		return;
	for (i = 0; i < CALLBACKS; i++)
		JS_MarkValue(rt, k->function[i], mark);
	JS_MarkValue(rt, k->object, mark);
}

const char *suspect;

/* Reads a number of object, which may lie between least and most. False: an exception
 * is thrown. Undefined is what it is without. */
static bool read_number(JSValueConst object, const char *name, int32_t least, int32_t most, int32_t *to)
{
	JSValue v = JS_GetPropertyStr(ctx, object, name);
	double n;
	bool ok;

	if (JS_IsUndefined(v))
		return true;
	ok = JS_IsNumber(v) && JS_ToFloat64(ctx, &n, v) == 0 && n >= least && n <= most && n == (int32_t)n;
	if (ok)
		*to = (int32_t)n;
	else if (!JS_IsException(v)) {
		suspect = name;
		JS_ThrowRangeError(ctx, "%s is a whole number, %d to %d", name, (int)least, (int)most);
	}
	JS_FreeValue(ctx, v);
	return ok;
}

static bool read_flag(JSValueConst object, const char *name)
{
	JSValue v = JS_GetPropertyStr(ctx, object, name);
	bool is = JS_ToBool(ctx, v) > 0;

	JS_FreeValue(ctx, v);
	return is;
}

/* Makes the object that has the struct callbacks of what a script has written. That of
 * the script itself must have one function at least. */
JSValue read_callbacks(JSValueConst object, bool of_script)
{
	JSValue made, length;
	struct callbacks *k;
	int i, functions = 0, readers = 0;
	bool ok;

	suspect = NULL;
	if (!JS_IsObject(object))
		return JS_ThrowTypeError(ctx, of_script ?
			"the script has no handler; write: export default { line(c, text) { c.send(text + \"\\n\") } }" :
			"callbacks are an object, as { data(c, bytes) {} }");
	made = JS_NewObjectClass(ctx, callbacks_class);
	k = calloc(1, sizeof *k);
	if (JS_IsException(made) || !k) {
		free(k);
		return JS_ThrowOutOfMemory(ctx);
	}
	k->object = JS_DupValue(ctx, object);
	for (i = 0; i < CALLBACKS; i++)
		k->function[i] = JS_UNDEFINED;
	JS_SetOpaque(made, k);
	k->terms = (struct terms){.line_limit = LINE_LIMIT, .frame_limit = FRAME_LIMIT, .queue_limit = QUEUE_LIMIT};
	for (i = 0; i < CALLBACKS; i++) {
		JSValue f = JS_GetPropertyStr(ctx, object, callback_names[i]);

		if (JS_IsException(f))
			goto bad;
		if (JS_IsUndefined(f))
			continue;
		if (!JS_IsFunction(ctx, f)) {
			JS_FreeValue(ctx, f);
			suspect = callback_names[i];
			JS_ThrowTypeError(ctx, "%s of the handler is not a function", callback_names[i]);
			goto bad;
		}
		k->function[i] = f;
		functions++;
		if (i == ON_DATA || i == ON_LINE || i == ON_FRAME) {
			readers++;
			suspect = callback_names[i];
		}
	}
	if (readers > 1) {
		JS_ThrowTypeError(ctx, "a handler has one of data, line and frame, and this one has %d", readers);
		goto bad;
	}
	if (of_script && functions == 0) {
		JS_ThrowTypeError(ctx, "the handler has none of the functions that are called: "
			"start, open, data, line, frame, eof, writable, secured, timer, closed, stop");
		goto bad;
	}
	if (!read_number(object, "lineLimit", 1, WINDOW - 2, &k->terms.line_limit) ||
		!read_number(object, "frameLimit", 0, WINDOW, &k->terms.frame_limit) ||
		!read_number(object, "queueLimit", 1, 64 << 20, &k->terms.queue_limit))
		goto bad;
	k->line_bytes = read_flag(object, "lineBytes");
	length = JS_GetPropertyStr(ctx, object, "frameLength");
	ok = true;
	if (JS_IsObject(length)) {
		ok = read_number(length, "bytes", 1, 4, &k->terms.frame_bytes);
		k->terms.frame_little = read_flag(length, "little");
		k->terms.frame_whole = read_flag(length, "whole");
	}
	JS_FreeValue(ctx, length);
	if (!ok)
		goto bad;
	if (!JS_IsUndefined(k->function[ON_FRAME]) && k->terms.frame_bytes != 1 && k->terms.frame_bytes != 2 && k->terms.frame_bytes != 4) {
		JS_ThrowTypeError(ctx, "a handler with frame needs frameLength, as { bytes: 2 }, where bytes is 1, 2 or 4");
		goto bad;
	}
	return made;
bad:
	JS_FreeValue(ctx, made);
	return JS_EXCEPTION;
}

struct callbacks *callbacks_of(struct connection *c)
{
	return JS_GetOpaque(c->callbacks, callbacks_class);
}

/* --- The table ----------------------------------------------------------------- */

struct connection *find(int32_t handle)
{
	return (struct connection *)find_link(handle);
}

static void set_callbacks(struct connection *c, JSValue callbacks)
{
	c->callbacks = callbacks;
	c->terms = &callbacks_of(c)->terms;
}

/* The connection of this handle, made if it is new. NULL: there is no memory. */
struct connection *known(int32_t handle, JSValueConst callbacks)
{
	struct connection *c = find(handle);

	if (c)
		return c;
	c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->object = JS_NewObjectClass(ctx, connection_class);
	if (JS_IsException(c->object)) {
		JS_FreeValue(ctx, JS_GetException(ctx));
		free(c);
		return NULL;
	}
	set_callbacks(c, JS_DupValue(ctx, callbacks));
	c->resolve = c->reject = JS_UNDEFINED;
	JS_SetOpaque(c->object, c);
	if (!add_link((struct link *)c, handle)) {
		JS_FreeValue(ctx, c->object); /* and with it c */
		return NULL;
	}
	return c;
}

/* Takes the handle away: the connection has ended, or was spliced. The object lives as
 * long as the script has it; the caller still has c for as long as it holds the object. */
void forget(struct connection *c)
{
	if (!c->handle)
		return;
	forget_link((struct link *)c);
	JS_FreeValue(ctx, c->object);
}

static void end_connection(JSRuntime *rt, JSValue v)
{
	struct connection *c = JS_GetOpaque(v, connection_class);

	if (!c)
		return;
	JS_FreeValueRT(rt, c->callbacks);
	JS_FreeValueRT(rt, c->resolve);
	JS_FreeValueRT(rt, c->reject);
	end_link((struct link *)c);
	free(c);
}

static void mark_connection(JSRuntime *rt, JSValueConst v, JS_MarkFunc *mark)
{
	struct connection *c = JS_GetOpaque(v, connection_class);

	if (!c)
		return;
	JS_MarkValue(rt, c->callbacks, mark);
	JS_MarkValue(rt, c->resolve, mark);
	JS_MarkValue(rt, c->reject, mark);
}

/* --- What scripts call -------------------------------------------------------------- */

/* An Error that says what did not work, with the code's name as its property code. */
JSValue code_error(const char *what, int32_t code)
{
	JSValue e = JS_NewError(ctx);
	char message[CSA_MAX_ADDRESS + 64];

	snprintf(message, sizeof message, "%s: %s", what, code_name(code));
	JS_DefinePropertyValueStr(ctx, e, "message", JS_NewString(ctx, message), JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
	JS_DefinePropertyValueStr(ctx, e, "code", JS_NewString(ctx, code_name(code)), JS_PROP_C_W_E);
	return e;
}

static struct connection *self_of(JSValueConst self)
{
	return JS_GetOpaque2(ctx, self, connection_class);
}

static JSValue connection_send(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct connection *c = self_of(self);
	struct bytes b;
	int all;

	if (!c || !take_bytes(argv[0], &b, "send"))
		return JS_EXCEPTION;
	all = send_or_keep((struct link *)c, b.p, b.len);
	release_bytes(&b);
	return all < 0 ? JS_ThrowRangeError(x, "%s", problem) : JS_NewBool(x, all);
}

enum ending { CLOSE, END, ABORT, PAUSE, RESUME };

static JSValue connection_tell(JSContext *x, JSValueConst self, int argc, JSValueConst *argv, int magic)
{
	struct connection *c = self_of(self);

	if (!c)
		return JS_EXCEPTION;
	if (!c->handle)
		return JS_UNDEFINED;
	switch (magic) {
	case CLOSE:
		c->closing = true;
		finish((struct link *)c, CSA_PRODUCER_FINISHED);
		break;
	case END: finish((struct link *)c, CSA_FINISH_SENDING); break;
	case ABORT:
		c->closing = true;
		csa_v1_control(c->handle, CSA_SHUTDOWN_MICROPROCESS);
		break;
	case PAUSE:
		c->paused = true;
		csa_v1_receive(c->handle, 0);
		break;
	case RESUME:
		c->paused = false;
		csa_v1_receive(c->handle, 1);
		break;
	}
	return JS_UNDEFINED;
}

static JSValue connection_timer(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct connection *c = self_of(self);
	int32_t token, ms, code;

	if (!c || JS_ToInt32(x, &token, argv[0]) || JS_ToInt32(x, &ms, argv[1]))
		return JS_EXCEPTION;
	if (!c->handle)
		return JS_UNDEFINED;
	code = csa_v1_timer(c->handle, token, ms);
	return code < 0 ? JS_Throw(x, code_error("timer", code)) : JS_UNDEFINED;
}

static JSValue connection_secure(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct connection *c = self_of(self);
	const char *role, *name = NULL;
	size_t len = 0;
	int32_t code = CSA_INVALID;
	bool server, client;

	if (!c)
		return JS_EXCEPTION;
	role = JS_ToCString(x, argv[0]);
	if (!role)
		return JS_EXCEPTION;
	server = strcmp(role, "server") == 0;
	client = strcmp(role, "client") == 0;
	JS_FreeCString(x, role);
	if (!server && !client)
		return JS_ThrowTypeError(x, "secure takes \"server\", or \"client\" and the name that the peer's certificate must have");
	if (client) {
		name = JS_ToCStringLen(x, &len, argv[1]);
		if (!name)
			return JS_EXCEPTION;
	}
	if (c->queued > 0)
		code = CSA_AGAIN; /* what was sent in the clear has to leave first */
	else if (c->handle)
		code = csa_v1_makessl(c->handle, server ? CSA_TLS_SERVER : CSA_TLS_CLIENT, name ? name : "", (int32_t)len);
	else
		code = CSA_CLOSED;
	if (name)
		JS_FreeCString(x, name);
	if (code == CSA_AGAIN)
		c->told_full = true; /* so that writable follows, when it can be tried again */
	if (code < 0)
		return JS_Throw(x, code_error("secure", code));
	c->secured_now = true;
	return JS_UNDEFINED;
}

static JSValue connection_splice(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct connection *a = self_of(self), *b = self_of(argv[0]);
	int32_t code = CSA_CLOSED;

	if (!a || !b)
		return JS_EXCEPTION;
	if (a->queued > 0 || b->queued > 0)
		code = CSA_AGAIN;
	else if (a->handle && b->handle)
		code = csa_v1_splice(a->handle, b->handle);
	if (code < 0)
		return JS_Throw(x, code_error("splice", code));
	forget(a);
	forget(b);
	return JS_UNDEFINED;
}

static JSValue connection_peer(JSContext *x, JSValueConst self)
{
	struct connection *c = self_of(self);

	return c ? JS_NewString(x, c->peer ? c->peer : "") : JS_EXCEPTION;
}

static JSValue connection_info(JSContext *x, JSValueConst self, int magic)
{
	struct connection *c = self_of(self);
	char text[4096];

	return c ? JS_NewStringLen(x, text, info_of((struct link *)c, magic, text, sizeof text)) : JS_EXCEPTION;
}

static JSValue connection_waiting(JSContext *x, JSValueConst self)
{
	struct connection *c = self_of(self);

	return c ? JS_NewInt32(x, c->queued) : JS_EXCEPTION;
}

static JSValue connection_callbacks(JSContext *x, JSValueConst self)
{
	struct connection *c = self_of(self);

	return c ? JS_DupValue(x, callbacks_of(c)->object) : JS_EXCEPTION;
}

static JSValue connection_set_callbacks(JSContext *x, JSValueConst self, JSValueConst v)
{
	struct connection *c = self_of(self);
	JSValue k;

	if (!c)
		return JS_EXCEPTION;
	k = read_callbacks(v, false);
	if (JS_IsException(k))
		return k;
	JS_FreeValue(x, c->callbacks);
	set_callbacks(c, k);
	if (c->unread && c->handle)
		csa_v1_receive(c->handle, 1);
	c->unread = false;
	return JS_UNDEFINED;
}

static JSValue dial(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	JSValue promise, settle[2], k, none = JS_UNDEFINED;
	struct connection *c;
	const char *address;
	size_t len;
	int32_t handle;

	address = JS_ToCStringLen(x, &len, argv[0]);
	if (!address)
		return JS_EXCEPTION;
	if (JS_IsUndefined(argv[1]))
		none = JS_NewObject(x);
	k = read_callbacks(JS_IsUndefined(argv[1]) ? none : argv[1], false);
	JS_FreeValue(x, none);
	promise = JS_IsException(k) ? JS_EXCEPTION : JS_NewPromiseCapability(x, settle);
	if (JS_IsException(promise)) {
		JS_FreeCString(x, address);
		JS_FreeValue(x, k);
		return JS_EXCEPTION;
	}
	handle = csa_v1_connect(address, (int32_t)len);
	c = handle > 0 ? known(handle, k) : NULL;
	JS_FreeValue(x, k);
	if (c) {
		c->resolve = settle[0];
		c->reject = settle[1];
	} else {
		char what[CSA_MAX_ADDRESS + 16];
		JSValue e;

		if (handle > 0)
			csa_v1_control(handle, CSA_SHUTDOWN_MICROPROCESS);
		snprintf(what, sizeof what, "dial %s", address);
		e = code_error(what, handle > 0 ? CSA_QUOTA : handle);
		JS_FreeValue(x, JS_Call(x, settle[1], JS_UNDEFINED, 1, (JSValueConst *)&e));
		JS_FreeValue(x, e);
		JS_FreeValue(x, settle[0]);
		JS_FreeValue(x, settle[1]);
	}
	JS_FreeCString(x, address);
	return promise;
}

static const JSCFunctionListEntry connection_functions[] = {
	JS_CFUNC_DEF("send", 1, connection_send),
	JS_CFUNC_MAGIC_DEF("close", 0, connection_tell, CLOSE),
	JS_CFUNC_MAGIC_DEF("end", 0, connection_tell, END),
	JS_CFUNC_MAGIC_DEF("abort", 0, connection_tell, ABORT),
	JS_CFUNC_MAGIC_DEF("pause", 0, connection_tell, PAUSE),
	JS_CFUNC_MAGIC_DEF("resume", 0, connection_tell, RESUME),
	JS_CFUNC_DEF("timer", 2, connection_timer),
	JS_CFUNC_DEF("secure", 2, connection_secure),
	JS_CFUNC_DEF("splice", 1, connection_splice),
	JS_CGETSET_DEF("waiting", connection_waiting, NULL),
	JS_CGETSET_DEF("handler", connection_callbacks, connection_set_callbacks),
	JS_CGETSET_DEF("peer", connection_peer, NULL),
	JS_CGETSET_MAGIC_DEF("local", connection_info, NULL, CSA_INFO_LOCAL),
	JS_CGETSET_MAGIC_DEF("listener", connection_info, NULL, CSA_INFO_LISTENER),
	JS_CGETSET_MAGIC_DEF("tenant", connection_info, NULL, CSA_INFO_TENANT),
	JS_CGETSET_MAGIC_DEF("transport", connection_info, NULL, CSA_INFO_TRANSPORT),
	JS_CGETSET_MAGIC_DEF("serverName", connection_info, NULL, CSA_INFO_SERVER_NAME),
	JS_CGETSET_MAGIC_DEF("alpn", connection_info, NULL, CSA_INFO_ALPN),
	JS_CGETSET_MAGIC_DEF("tlsVersion", connection_info, NULL, CSA_INFO_TLS_VERSION),
	JS_CGETSET_MAGIC_DEF("cipher", connection_info, NULL, CSA_INFO_CIPHER),
	JS_CGETSET_MAGIC_DEF("clientSubject", connection_info, NULL, CSA_INFO_CLIENT_SUBJECT),
	JS_CGETSET_MAGIC_DEF("clientNames", connection_info, NULL, CSA_INFO_CLIENT_NAMES),
	JS_CGETSET_MAGIC_DEF("clientFingerprint", connection_info, NULL, CSA_INFO_CLIENT_FINGERPRINT),
	JS_CGETSET_MAGIC_DEF("certificate", connection_info, NULL, CSA_INFO_CERTIFICATE),
	JS_CGETSET_MAGIC_DEF("messageType", connection_info, NULL, CSA_INFO_MESSAGE),
	JS_CGETSET_MAGIC_DEF("target", connection_info, NULL, CSA_INFO_TARGET),
	JS_CGETSET_MAGIC_DEF("origin", connection_info, NULL, CSA_INFO_ORIGIN),
	JS_CGETSET_MAGIC_DEF("subprotocol", connection_info, NULL, CSA_INFO_SUBPROTOCOL),
};

static const JSClassDef connection_definition = {"Connection", .finalizer = end_connection, .gc_mark = mark_connection};
static const JSClassDef callbacks_definition = {"Callbacks", .finalizer = end_callbacks, .gc_mark = mark_callbacks};

int define_connections(JSValueConst global)
{
	JSRuntime *rt = JS_GetRuntime(ctx);
	JSValue prototype;

	JS_NewClassID(&connection_class);
	JS_NewClassID(&callbacks_class);
	if (JS_NewClass(rt, connection_class, &connection_definition) || JS_NewClass(rt, callbacks_class, &callbacks_definition))
		return -1;
	prototype = JS_NewObject(ctx);
	JS_SetPropertyFunctionList(ctx, prototype, connection_functions, sizeof connection_functions / sizeof *connection_functions);
	JS_SetClassProto(ctx, connection_class, prototype);
	return JS_SetPropertyStr(ctx, global, "dial", JS_NewCFunction(ctx, dial, "dial", 2)) < 0 ? -1 : 0;
}

/* Has QuickJS make what it makes when it is used for the first time, so that each copy need not:
 * methods, and what it notes of objects of one kind. It makes objects that stay. */
void use_connections(void)
{
	JSValue c = JS_NewObjectClass(ctx, connection_class);
	size_t i;

	for (i = 0; i < sizeof connection_functions / sizeof *connection_functions; i++)
		if (connection_functions[i].def_type == JS_DEF_CFUNC)
			JS_FreeValue(ctx, JS_GetPropertyStr(ctx, c, connection_functions[i].name));
	new_bytes("", 0);
}

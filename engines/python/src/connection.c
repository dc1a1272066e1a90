/* The connection object of scripts, and the objects whose functions are called for one. */
#include <string.h>

#include "engine.h"

#include "py/objtype.h"

const struct limit_names limit_names = {"line_limit", "frame_limit", "queue_limit"};

MP_REGISTER_ROOT_POINTER(struct connection *connections);

/* --- Callbacks ---------------------------------------------------------------- */

const char *const callback_names[CALLBACKS] = {
	"start", "open", "data", "line", "frame", "eof", "writable",
	"secured", "timer", "closed", "stop",
};

static const uint16_t callback_qstrs[CALLBACKS] = {
	MP_QSTR_start, MP_QSTR_open, MP_QSTR_data, MP_QSTR_line, MP_QSTR_frame, MP_QSTR_eof, MP_QSTR_writable,
	MP_QSTR_secured, MP_QSTR_timer, MP_QSTR_closed, MP_QSTR_stop,
};

/* A field of the handler; MP_OBJ_NULL: it has none. */
static mp_obj_t field(mp_obj_t object, qstr name)
{
	mp_obj_t found[2];

	mp_load_method_maybe(object, name, found);
	return found[1] == MP_OBJ_NULL ? found[0] : MP_OBJ_NULL;
}

const char *suspect;

static void limit(mp_obj_t value, const char *name, int32_t least, int32_t most, int32_t *to)
{
	mp_int_t n;

	if (value == MP_OBJ_NULL)
		return;
	if (!mp_obj_is_int(value) || !mp_obj_get_int_maybe(value, &n) || n < least || n > most) {
		suspect = name;
		raise_text(&mp_type_ValueError, "%s is a whole number, %d to %d", name, (int)least, (int)most);
	}
	*to = (int32_t)n;
}

static mp_obj_t item(mp_obj_t dict, qstr name)
{
	mp_map_elem_t *found = mp_map_lookup(mp_obj_dict_get_map(dict), MP_OBJ_NEW_QSTR(name), MP_MAP_LOOKUP);

	return found ? found->value : MP_OBJ_NULL;
}

static bool is_true(mp_obj_t value)
{
	return value != MP_OBJ_NULL && mp_obj_is_true(value);
}

/* The callbacks of a handler. The script itself must have one function at least. */
struct callbacks *read_callbacks(mp_obj_t object, bool of_script)
{
	struct callbacks *k = m_new_obj(struct callbacks);
	int i, functions = 0, readers = 0;
	mp_obj_t length, found[2];

	suspect = NULL;
	memset(k, 0, sizeof *k);
	k->object = object;
	k->terms = (struct terms){.line_limit = LINE_LIMIT, .frame_limit = FRAME_LIMIT, .queue_limit = QUEUE_LIMIT};
	if (object == mp_const_none)
		return k;
	if (mp_obj_is_dict_or_ordereddict(object) || mp_obj_is_str_or_bytes(object) || mp_obj_is_int(object) ||
		(mp_obj_is_callable(object) && !mp_obj_is_type(object, &mp_type_type) && !mp_obj_is_instance_type(mp_obj_get_type(object))))
		raise_text(&mp_type_TypeError, "a handler is a class, an object of one, or a module, with functions such as data(c, b), "
			"and this one is of type %s", mp_obj_get_type_str(object));
	for (i = 0; i < CALLBACKS; i++) {
		mp_load_method_maybe(object, callback_qstrs[i], found);
		if (found[0] == MP_OBJ_NULL)
			continue;
		if (!mp_obj_is_callable(found[0])) {
			suspect = callback_names[i];
			raise_text(&mp_type_TypeError, "%s of the handler is not a function, but of type %s", callback_names[i], mp_obj_get_type_str(found[0]));
		}
		k->on[i].function = found[0];
		k->on[i].self = found[1];
		functions++;
		if (i == ON_DATA || i == ON_LINE || i == ON_FRAME) {
			readers++;
			suspect = callback_names[i];
		}
	}
	if (readers > 1)
		raise_text(&mp_type_TypeError, "a handler has one of data, line and frame, and this one has %d", readers);
	if (of_script && functions == 0)
		raise_text(&mp_type_TypeError, "the script has none of the functions that are called: "
			"start, open, data, line, frame, eof, writable, secured, timer, closed, stop; "
			"write: def line(c, text): c.send(text + \"\\n\")");
	limit(field(object, MP_QSTR_line_limit), "line_limit", 1, WINDOW - 2, &k->terms.line_limit);
	limit(field(object, MP_QSTR_frame_limit), "frame_limit", 0, WINDOW, &k->terms.frame_limit);
	limit(field(object, MP_QSTR_queue_limit), "queue_limit", 1, 64 << 20, &k->terms.queue_limit);
	k->line_bytes = is_true(field(object, MP_QSTR_line_bytes));
	length = field(object, MP_QSTR_frame_length);
	if (length != MP_OBJ_NULL && mp_obj_is_dict_or_ordereddict(length)) {
		limit(item(length, MP_QSTR_bytes), "bytes of frame_length", 1, 4, &k->terms.frame_bytes);
		k->terms.frame_little = is_true(item(length, MP_QSTR_little));
		k->terms.frame_whole = is_true(item(length, MP_QSTR_whole));
	}
	if (k->on[ON_FRAME].function != MP_OBJ_NULL && k->terms.frame_bytes != 1 && k->terms.frame_bytes != 2 && k->terms.frame_bytes != 4)
		raise_text(&mp_type_TypeError, "a handler with frame needs frame_length, as {\"bytes\": 2}, where bytes is 1, 2 or 4");
	return k;
}

/* --- Objects ------------------------------------------------------------------- */

struct connection *connection_of_link(struct link *l)
{
	return l ? (struct connection *)((char *)l - offsetof(struct connection, handle)) : NULL;
}

static struct link *link_of(struct connection *c)
{
	return (struct link *)&c->handle;
}

/* Makes a connection that has no handle yet. */
struct connection *new_connection(struct callbacks *callbacks)
{
	struct connection *c = m_new_obj(struct connection);

	memset(c, 0, sizeof *c);
	c->base.type = &connection_type;
	c->callbacks = callbacks;
	c->terms = &callbacks->terms;
	return c;
}

struct connection *connection_of(int32_t handle)
{
	return connection_of_link(find_link(handle));
}

/* Keeps c until as many calls of let_go. */
void hold(struct connection *c)
{
	if (c->holds++ > 0)
		return;
	c->before = NULL;
	c->after = MP_STATE_VM(connections);
	if (c->after)
		c->after->before = c;
	MP_STATE_VM(connections) = c;
}

void let_go(struct connection *c)
{
	if (--c->holds > 0)
		return;
	if (c->before)
		c->before->after = c->after;
	else
		MP_STATE_VM(connections) = c->after;
	if (c->after)
		c->after->before = c->before;
	c->before = c->after = NULL;
}

/* Takes the handle away, for which it was held. */
void forget(struct connection *c)
{
	if (!c->handle)
		return;
	forget_link(link_of(c));
	let_go(c);
}

/* c has ended: it keeps nothing that the collector does not see. There may be no memory. */
void end_of(struct connection *c)
{
	nlr_buf_t nlr;

	if (c->peer && nlr_push(&nlr) == 0) {
		c->last_peer = mp_obj_new_str(c->peer, strlen(c->peer));
		nlr_pop();
	}
	forget(c);
	end_link(link_of(c));
}

const char *peer_of(struct connection *c)
{
	return c->peer ? c->peer : c->last_peer != MP_OBJ_NULL ? mp_obj_str_get_str(c->last_peer) : NULL;
}

/* Tells the host whether c reads, after one of the reasons not to has come or gone. */
void update_reading(struct connection *c)
{
	if (c->handle)
		csa_v1_receive(c->handle, !c->paused && !c->unread && c->blocked == 0);
}

static struct connection *self_of(mp_obj_t o)
{
	if (!mp_obj_is_type(o, &connection_type))
		raise_text(&mp_type_TypeError, "it takes a connection, and was given a value of type %s", mp_obj_get_type_str(o));
	return MP_OBJ_TO_PTR(o);
}

/* --- Methods ------------------------------------------------------------------- */

static mp_obj_t c_send(mp_obj_t self, mp_obj_t what)
{
	struct connection *c = self_of(self);
	mp_buffer_info_t b;
	int all;

	if (!mp_get_buffer(what, &b, MP_BUFFER_READ))
		raise_text(&mp_type_TypeError, "send takes str or bytes, and was given a value of type %s; json.dumps or str make text of it",
			mp_obj_get_type_str(what));
	all = send_or_keep(link_of(c), b.buf, b.len);
	if (all < 0)
		raise_text(&mp_type_OSError, "%s", problem);
	return mp_obj_new_bool(all);
}
static MP_DEFINE_CONST_FUN_OBJ_2(c_send_obj, c_send);

static mp_obj_t c_close(mp_obj_t self)
{
	struct connection *c = self_of(self);

	c->closing = true;
	if (c->handle)
		finish(link_of(c), CSA_PRODUCER_FINISHED);
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(c_close_obj, c_close);

static mp_obj_t c_finish(mp_obj_t self)
{
	struct connection *c = self_of(self);

	if (c->handle)
		finish(link_of(c), CSA_FINISH_SENDING);
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(c_finish_obj, c_finish);

static mp_obj_t c_abort(mp_obj_t self)
{
	struct connection *c = self_of(self);

	c->closing = true;
	if (c->handle)
		csa_v1_control(c->handle, CSA_SHUTDOWN_MICROPROCESS);
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(c_abort_obj, c_abort);

static mp_obj_t c_pause(mp_obj_t self)
{
	struct connection *c = self_of(self);

	c->paused = true;
	update_reading(c);
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(c_pause_obj, c_pause);

static mp_obj_t c_resume(mp_obj_t self)
{
	struct connection *c = self_of(self);

	c->paused = false;
	update_reading(c);
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(c_resume_obj, c_resume);

static void must(const char *what, int32_t code)
{
	if (code < 0)
		raise_text(&mp_type_OSError, "%s: %s", what, code_name(code));
}

static mp_obj_t c_timer(mp_obj_t self, mp_obj_t token, mp_obj_t ms)
{
	struct connection *c = self_of(self);
	mp_int_t t, m;

	if (!mp_obj_get_int_maybe(token, &t) || !mp_obj_get_int_maybe(ms, &m))
		raise_text(&mp_type_TypeError, "timer takes two whole numbers, a token and milliseconds");
	if (c->handle)
		must("timer", csa_v1_timer(c->handle, (int32_t)t, (int32_t)m));
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_3(c_timer_obj, c_timer);

static mp_obj_t c_secure(size_t n, const mp_obj_t *args)
{
	struct connection *c = self_of(args[0]);
	const char *role = mp_obj_is_str(args[1]) ? mp_obj_str_get_str(args[1]) : "", *name = "";
	bool client = strcmp(role, "client") == 0;
	int32_t code = CSA_CLOSED;
	size_t length = 0;

	if ((client && (n < 3 || !mp_obj_is_str(args[2]))) || (!client && strcmp(role, "server") != 0))
		raise_text(&mp_type_ValueError, "secure takes \"server\", or \"client\" and the name that the peer's certificate must have");
	if (client)
		name = mp_obj_str_get_data(args[2], &length);
	if (c->queued > 0)
		code = CSA_AGAIN; /* what was sent in the clear has to leave first */
	else if (c->handle)
		code = csa_v1_makessl(c->handle, client ? CSA_TLS_CLIENT : CSA_TLS_SERVER, name, (int32_t)length);
	if (code == CSA_AGAIN)
		c->told_full = true; /* so that writable follows, when it can be tried again */
	must("secure", code);
	c->secured_now = true;
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(c_secure_obj, 2, 3, c_secure);

static mp_obj_t c_splice(mp_obj_t self, mp_obj_t other)
{
	struct connection *a = self_of(self), *b = self_of(other);

	if (a->queued > 0 || b->queued > 0)
		must("splice", CSA_AGAIN);
	must("splice", a->handle && b->handle ? csa_v1_splice(a->handle, b->handle) : CSA_CLOSED);
	end_of(a);
	end_of(b);
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(c_splice_obj, c_splice);

static const mp_rom_map_elem_t methods_table[] = {
	{MP_ROM_QSTR(MP_QSTR_send), MP_ROM_PTR(&c_send_obj)},
	{MP_ROM_QSTR(MP_QSTR_close), MP_ROM_PTR(&c_close_obj)},
	{MP_ROM_QSTR(MP_QSTR_finish), MP_ROM_PTR(&c_finish_obj)},
	{MP_ROM_QSTR(MP_QSTR_abort), MP_ROM_PTR(&c_abort_obj)},
	{MP_ROM_QSTR(MP_QSTR_pause), MP_ROM_PTR(&c_pause_obj)},
	{MP_ROM_QSTR(MP_QSTR_resume), MP_ROM_PTR(&c_resume_obj)},
	{MP_ROM_QSTR(MP_QSTR_timer), MP_ROM_PTR(&c_timer_obj)},
	{MP_ROM_QSTR(MP_QSTR_secure), MP_ROM_PTR(&c_secure_obj)},
	{MP_ROM_QSTR(MP_QSTR_splice), MP_ROM_PTR(&c_splice_obj)},
};
static MP_DEFINE_CONST_DICT(methods, methods_table);

/* --- Fields -------------------------------------------------------------------- */

/* What is known of a connection, as text; 0: it is none of these. */
static int32_t fact(qstr name)
{
	switch (name) {
	case MP_QSTR_local_address: return CSA_INFO_LOCAL;
	case MP_QSTR_listener: return CSA_INFO_LISTENER;
	case MP_QSTR_tenant: return CSA_INFO_TENANT;
	case MP_QSTR_transport: return CSA_INFO_TRANSPORT;
	case MP_QSTR_server_name: return CSA_INFO_SERVER_NAME;
	case MP_QSTR_alpn: return CSA_INFO_ALPN;
	case MP_QSTR_tls_version: return CSA_INFO_TLS_VERSION;
	case MP_QSTR_cipher: return CSA_INFO_CIPHER;
	case MP_QSTR_client_subject: return CSA_INFO_CLIENT_SUBJECT;
	case MP_QSTR_client_names: return CSA_INFO_CLIENT_NAMES;
	case MP_QSTR_client_fingerprint: return CSA_INFO_CLIENT_FINGERPRINT;
	case MP_QSTR_certificate: return CSA_INFO_CERTIFICATE;
	case MP_QSTR_message_type: return CSA_INFO_MESSAGE;
	case MP_QSTR_target: return CSA_INFO_TARGET;
	case MP_QSTR_origin: return CSA_INFO_ORIGIN;
	case MP_QSTR_subprotocol: return CSA_INFO_SUBPROTOCOL;
	}
	return -1;
}

static mp_map_elem_t *method(qstr name)
{
	return mp_map_lookup((mp_map_t *)&methods.map, MP_OBJ_NEW_QSTR(name), MP_MAP_LOOKUP);
}

static void load(struct connection *c, qstr name, mp_obj_t *to)
{
	mp_map_elem_t *found = method(name);
	int32_t key;

	if (found) {
		to[0] = found->value;
		to[1] = MP_OBJ_FROM_PTR(c);
		return;
	}
	if (c->fields != MP_OBJ_NULL) {
		to[0] = item(c->fields, name);
		if (to[0] != MP_OBJ_NULL)
			return;
	}
	if (name == MP_QSTR_peer) {
		const char *peer = peer_of(c);

		to[0] = c->peer ? mp_obj_new_str(peer, strlen(peer)) : c->last_peer != MP_OBJ_NULL ? c->last_peer : MP_OBJ_NEW_QSTR(MP_QSTR_);
	} else if (name == MP_QSTR_waiting)
		to[0] = MP_OBJ_NEW_SMALL_INT(c->queued);
	else if (name == MP_QSTR_handler)
		to[0] = c->callbacks->object;
	else if ((key = fact(name)) >= 0) {
		char text[4096];

		to[0] = text_of_bytes((uint8_t *)text, info_of(link_of(c), key, text, sizeof text));
	}
}

static void store(struct connection *c, qstr name, mp_obj_t value)
{
	if (name == MP_QSTR_handler) {
		c->callbacks = read_callbacks(value, false);
		c->terms = &c->callbacks->terms;
		if (c->unread) {
			c->unread = false;
			update_reading(c);
		}
		return;
	}
	if (method(name) || name == MP_QSTR_peer || name == MP_QSTR_waiting || fact(name) >= 0)
		raise_text(&mp_type_AttributeError, "%s of a connection cannot be set; keep it by another name", qstr_str(name));
	if (c->fields == MP_OBJ_NULL)
		c->fields = mp_obj_new_dict(2);
	mp_obj_dict_store(c->fields, MP_OBJ_NEW_QSTR(name), value);
}

static void attribute(mp_obj_t self, qstr name, mp_obj_t *dest)
{
	struct connection *c = MP_OBJ_TO_PTR(self);

	if (dest[0] == MP_OBJ_NULL) {
		load(c, name, dest);
		return;
	}
	if (dest[1] != MP_OBJ_NULL)
		store(c, name, dest[1]);
	else if (c->fields == MP_OBJ_NULL || item(c->fields, name) == MP_OBJ_NULL)
		return; /* there is nothing to delete: an AttributeError */
	else
		mp_obj_dict_delete(c->fields, MP_OBJ_NEW_QSTR(name));
	dest[0] = MP_OBJ_NULL; /* it is done */
}

static void print(const mp_print_t *to, mp_obj_t self, mp_print_kind_t kind)
{
	const char *peer = peer_of(MP_OBJ_TO_PTR(self));

	mp_printf(to, "<connection of %s>", peer ? peer : "an unknown peer");
}

MP_DEFINE_CONST_OBJ_TYPE(connection_type, MP_QSTR_connection, MP_TYPE_FLAG_NONE, attr, attribute, print, print);

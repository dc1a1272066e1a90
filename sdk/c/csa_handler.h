/* csa_handler.h: a handler with state and a queue for each connection, whoever shares
 * its instance, and whether it was accepted or dialled. It needs no libc.
 *
 *     #include "csa_handler.h"
 *
 *     struct client { int32_t lines; };
 *
 *     static int32_t data(int32_t conn, void *state, const uint8_t *bytes, int32_t len)
 *     {
 *         struct client *client = state;
 *         struct csa_bytes line;
 *         int32_t used, done = 0, e;
 *
 *         while ((used = csa_line(bytes + done, len - done, 1000, &line)) > 0) {
 *             client->lines++;
 *             if ((e = csa_conn_write(conn, line.at, line.len)) < 0)
 *                 return e;
 *             done += used;
 *         }
 *         return used < 0 ? used : done;
 *     }
 *
 *     static const struct csa_handler handler = {.state = sizeof(struct client), .data = data};
 *     CSA_SERVE(handler, 65536)
 *
 * CSA_SERVE defines csa_window, _initialize, csa_open, csa_data, csa_writable,
 * csa_secured, csa_eof, csa_closed and csa_timer. csa_start, csa_reseed and csa_stop
 * are the guest's own, where it wants them. Timers, TLS and the like are the functions
 * of csa.h, on the same handles: csa_v1_timer, csa_v1_makessl, csa_v1_receive,
 * csa_v1_want.
 */
#ifndef CSA_HANDLER_H
#define CSA_HANDLER_H

#include "csa_memory.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What a guest does with a kind of connections. Each function may be left out but data.
 * state is the connection's own, which is zeros at first, and is gone after closed, or
 * after the callback that has called csa_conn_splice.
 */
struct csa_handler {
	/* How many bytes of state there are for a connection. */
	int32_t state;
	/* The state has just been made. */
	void (*init)(int32_t conn, void *state);
	/* The state goes away. */
	void (*release)(int32_t conn, void *state);
	/* The connection is up. A code below 0 closes it. */
	int32_t (*open)(int32_t conn, void *state);
	/* len bytes have come, of which the result have been used; a code below 0 closes it.
	 * The others come again, with more. AGAIN is as good as 0. It is not called while
	 * something waits in the queue. */
	int32_t (*data)(int32_t conn, void *state, const uint8_t *bytes, int32_t len);
	/* All that waited is sent. */
	void (*writable)(int32_t conn, void *state);
	/* The handshake that csa_v1_makessl has started is over. */
	void (*secured)(int32_t conn, void *state, int32_t status);
	/* The peer has finished sending. Left out: csa_conn_close. */
	void (*eof)(int32_t conn, void *state);
	/* It is over. For one that was dialled it may be the first that is called. */
	void (*closed)(int32_t conn, void *state, int32_t reason);
	/* A timer of the connection has fired. */
	void (*timer)(int32_t conn, void *state, int32_t token);
	/* One of the instance itself, on handle -1, has fired. */
	void (*instance_timer)(int32_t token);
};

/* How many bytes csa_conn_write queues for one connection, where nothing else is said. */
#define CSA_WRITE_LIMIT 65536

/* What the library keeps of a connection. The state follows. */
struct csa_kept {
	const struct csa_handler *handler;
	struct csa_kept *next; /* of those that a splice has taken */
	uint8_t *queue;        /* of csa_alloc; NULL while nothing waits */
	int32_t conn;
	int32_t cap, start, len; /* of the queue: what waits is len bytes from start on */
	int32_t limit;
	int32_t last;     /* what control is told when nothing waits; -1: nothing */
	int8_t dialled;
	int8_t messages;  /* each send is one message; -1: it is not known yet */
} __attribute__((aligned(8)));

/* All connections, by a hash of their handles. It is one for all source files. */
__attribute__((weak)) struct csa_connections {
	struct csa_kept **slots;
	int32_t size, used; /* a power of two, at least twice as great as what is used */
	struct csa_kept *recent, *gone;
} csa_connections;

static inline int32_t csa_slot_of(int32_t conn)
{
	return (int32_t)(((uint32_t)conn * 2654435769u) >> 8) & (csa_connections.size - 1);
}

static CSA_ONCE struct csa_kept *csa_kept_of(int32_t conn)
{
	struct csa_connections *t = &csa_connections;

	if (t->recent && t->recent->conn == conn)
		return t->recent;
	if (t->used == 0)
		return 0;
	for (int32_t i = csa_slot_of(conn); t->slots[i]; i = (i + 1) & (t->size - 1)) {
		if (t->slots[i]->conn == conn)
			return t->recent = t->slots[i];
	}
	return 0;
}

static inline void csa_keep_slot(struct csa_kept *k)
{
	int32_t i = csa_slot_of(k->conn);

	while (csa_connections.slots[i])
		i = (i + 1) & (csa_connections.size - 1);
	csa_connections.slots[i] = k;
	csa_connections.used++;
}

static CSA_ONCE struct csa_kept *csa_keep(int32_t conn, const struct csa_handler *handler, int dialled)
{
	struct csa_connections *t = &csa_connections;
	int32_t bytes = (int32_t)sizeof(struct csa_kept) + handler->state;
	struct csa_kept *k;

	if (2 * (t->used + 1) > t->size) {
		struct csa_kept **old = t->slots;
		int32_t size = t->size, twice = size ? 2 * size : 2;
		struct csa_kept **slots = (struct csa_kept **)csa_alloc(twice * (int32_t)sizeof *slots);

		if (!slots)
			return 0;
		for (int32_t i = 0; i < twice; i++)
			slots[i] = 0;
		t->slots = slots;
		t->size = twice;
		t->used = 0;
		for (int32_t i = 0; i < size; i++) {
			if (old[i])
				csa_keep_slot(old[i]);
		}
		csa_free(old);
	}
	k = (struct csa_kept *)csa_alloc(bytes);
	if (!k)
		return 0;
	for (int32_t i = 0; i < bytes; i++)
		((uint8_t *)k)[i] = 0;
	k->handler = handler;
	k->conn = conn;
	k->limit = CSA_WRITE_LIMIT;
	k->last = -1;
	k->dialled = (int8_t)dialled;
	k->messages = -1;
	csa_keep_slot(k);
	t->recent = k;
	if (handler->init)
		handler->init(conn, k + 1);
	return k;
}

/* Takes a connection out of the table. Its state stays until csa_forget_gone. */
static CSA_ONCE void csa_forget(struct csa_kept *k)
{
	struct csa_connections *t = &csa_connections;
	int32_t i = csa_slot_of(k->conn), mask = t->size - 1;

	while (t->slots[i] != k)
		i = (i + 1) & mask;
	/* What stands behind moves up, unless its own place is behind the gap. */
	for (int32_t j = (i + 1) & mask; t->slots[j]; j = (j + 1) & mask) {
		if (((j - csa_slot_of(t->slots[j]->conn)) & mask) >= ((j - i) & mask)) {
			t->slots[i] = t->slots[j];
			i = j;
		}
	}
	t->slots[i] = 0;
	t->used--;
	if (t->recent == k)
		t->recent = 0;
	k->next = t->gone;
	t->gone = k;
}

static inline void csa_forget_gone(void)
{
	while (csa_connections.gone) {
		struct csa_kept *k = csa_connections.gone;

		csa_connections.gone = k->next;
		if (k->handler->release)
			k->handler->release(k->conn, k + 1);
		csa_free(k->queue);
		csa_free(k);
	}
}

/* --- What a guest calls ----------------------------------------------------- */

/*
 * The state of another connection of this instance; NULL when it is over. It is what its
 * handler's functions are given.
 */
static inline void *csa_conn_state(int32_t conn)
{
	struct csa_kept *k = csa_kept_of(conn);

	return k ? k + 1 : 0;
}

/*
 * Whether csa_dial has made it.
 */
static inline int csa_conn_dialled(int32_t conn)
{
	struct csa_kept *k = csa_kept_of(conn);

	return k && k->dialled;
}

/*
 * How many bytes csa_conn_write queues for the connection at most; 0 is CSA_WRITE_LIMIT.
 */
static inline void csa_conn_set_write_limit(int32_t conn, int32_t bytes)
{
	struct csa_kept *k = csa_kept_of(conn);

	if (k)
		k->limit = bytes > 0 ? bytes : CSA_WRITE_LIMIT;
}

/*
 * How many bytes csa_conn_write has queued and the inbox has not taken yet.
 */
static inline int32_t csa_conn_queued(int32_t conn)
{
	struct csa_kept *k = csa_kept_of(conn);

	return k ? k->len : 0;
}

/*
 * Copies what is known of the connection under a key, CSA_INFO_PEER and so on, to cap
 * bytes at buffer, and returns where it is. What has no room is cut off.
 */
static inline struct csa_bytes csa_conn_info(int32_t conn, int32_t key, void *buffer, int32_t cap)
{
	struct csa_bytes b;
	int32_t len = csa_v1_info(conn, key, buffer, cap);

	b.at = (const uint8_t *)buffer;
	b.len = len < 0 ? 0 : len < cap ? len : cap;
	return b;
}

/* Each send of these transports is a message, which has to stay one. */
static inline int csa_conn_sends_messages(struct csa_kept *k)
{
	if (k->messages < 0) {
		uint8_t name[8];
		struct csa_bytes transport = csa_conn_info(k->conn, CSA_INFO_TRANSPORT, name, sizeof name);

		if (transport.len == 0)
			return 0; /* it is not up yet */
		k->messages = csa_is(transport, "udp") || csa_is(transport, "ws");
	}
	return k->messages;
}

/* Makes room for so many bytes behind those that wait. */
static CSA_ONCE int csa_queue_room(struct csa_kept *k, int32_t more)
{
	int32_t cap = k->cap ? k->cap : 56; /* a block of csa_alloc, without what that has itself */
	uint8_t *queue;

	if (more <= k->cap - k->start - k->len)
		return 1;
	while (cap - k->len < more) {
		if (cap > 1 << 29)
			return 0;
		cap = 2 * cap + 8;
	}
	queue = cap == k->cap ? k->queue : (uint8_t *)csa_alloc(cap);
	if (!queue)
		return 0;
	for (int32_t i = 0; i < k->len; i++) /* to the front, or to the new one */
		queue[i] = k->queue[k->start + i];
	if (queue != k->queue)
		csa_free(k->queue);
	k->queue = queue;
	k->cap = cap;
	k->start = 0;
	return 1;
}

/* The length that stands before a message in the queue. */
static inline void csa_queue_mark(uint8_t *at, int32_t len)
{
	for (int32_t i = 0; i < 4; i++)
		at[i] = (uint8_t)(len >> 8 * i);
}

/*
 * Sends all of the len bytes at ptr, or nothing: what the inbox has no room for is
 * queued, and sent as soon as it has. Over UDP and WebSocket they stay one message.
 * Returns OK; QUOTA: more than the write limit would wait, since the peer takes less
 * than it is sent; CLOSED: no more can be sent; or what send has answered.
 *
 * QUOTA also means that the tenant has no memory left. If a part was sent already, the
 * connection is broken off.
 */
static CSA_ONCE CSA_MUST_USE int32_t csa_conn_write(int32_t conn, const void *ptr, int32_t len)
{
	struct csa_kept *k = csa_kept_of(conn);
	const uint8_t *p = (const uint8_t *)ptr;
	int32_t n = 0, r, mark;

	if (!k)
		return CSA_BAD_HANDLE;
	if (len < 0)
		return CSA_INVALID;
	if (k->last >= 0)
		return CSA_CLOSED;
	if (len > k->limit - k->len)
		return CSA_QUOTA;
	if (k->len == 0) {
		/* A short answer is asked again: AGAIN promises that room is told of. */
		do {
			r = csa_v1_send(conn, p + n, len - n);
			if (r >= 0)
				n += r;
		} while (r > 0 && n < len);
		if (r < 0 && r != CSA_AGAIN)
			return r;
		if (r >= 0 && n == len)
			return CSA_OK;
	}
	mark = csa_conn_sends_messages(k) ? 4 : 0;
	if (k->len > 0 && mark > k->limit - k->len - len)
		return CSA_QUOTA;
	if (!csa_queue_room(k, mark + len - n)) {
		if (n > 0)
			csa_v1_control(conn, CSA_SHUTDOWN_MICROPROCESS);
		return CSA_QUOTA;
	}
	if (mark)
		csa_queue_mark(k->queue + k->start + k->len, len - n);
	csa_copy(k->queue + k->start + k->len + mark, p + n, len - n);
	k->len += mark + len - n;
	return CSA_OK;
}

/*
 * csa_conn_write for a text that ends with a zero byte.
 */
static inline CSA_MUST_USE int32_t csa_conn_write_text(int32_t conn, const char *text)
{
	return csa_conn_write(conn, text, csa_length(text));
}

/*
 * csa_conn_write for what a writer has, or QUOTA when that had no room for all of it.
 */
static inline CSA_MUST_USE int32_t csa_conn_write_all(int32_t conn, const struct csa_writer *w)
{
	return w->failed ? CSA_QUOTA : csa_conn_write(conn, w->bytes, w->len);
}

static inline void csa_conn_finish(int32_t conn, int32_t what)
{
	struct csa_kept *k = csa_kept_of(conn);

	if (k && k->len > 0)
		k->last = what;
	else
		csa_v1_control(conn, what);
}

/*
 * Sends what waits, and then closes the connection.
 */
static inline void csa_conn_close(int32_t conn) { csa_conn_finish(conn, CSA_PRODUCER_FINISHED); }

/*
 * Sends what waits, and then tells the peer that no more comes. Receiving goes on.
 */
static inline void csa_conn_finish_sending(int32_t conn) { csa_conn_finish(conn, CSA_FINISH_SENDING); }

/*
 * Closes the connection now, and drops what is not sent yet.
 */
static inline void csa_conn_abort(int32_t conn) { csa_v1_control(conn, CSA_SHUTDOWN_MICROPROCESS); }

/*
 * Starts to dial an address that the tenant may: "tcp://host:port", "tls://host:port",
 * "udp://host:port" or "unix:///path". The handler is told of what comes: open when it
 * is up, closed alone when that fails. What is written before open waits. Returns the
 * handle, or what connect has answered; QUOTA also where there is no memory.
 */
static inline CSA_MUST_USE int32_t csa_dial(const char *address, const struct csa_handler *handler)
{
	int32_t conn = csa_v1_connect(address, csa_length(address));
	struct csa_kept *k;

	if (conn < 0)
		return conn;
	k = csa_keep(conn, handler, 1);
	if (!k) {
		csa_v1_control(conn, CSA_SHUTDOWN_MICROPROCESS);
		return CSA_QUOTA;
	}
	if (address[0] == 'u' && address[1] == 'd' && address[2] == 'p' && address[3] == ':')
		k->messages = 1;
	return conn;
}

/*
 * Has the host relay all bytes between two connections from here on. Both are gone from
 * the guest when it returns OK; neither closed nor another function is called for them.
 * AGAIN: something waits in a queue still, or one is not up yet; try again in writable.
 */
static inline CSA_MUST_USE int32_t csa_conn_splice(int32_t a, int32_t b)
{
	struct csa_kept *first = csa_kept_of(a), *second = csa_kept_of(b);
	int32_t e;

	if (!first || !second)
		return CSA_BAD_HANDLE;
	if (first->len > 0 || second->len > 0)
		return CSA_AGAIN;
	e = csa_v1_splice(a, b);
	if (e < 0)
		return e;
	csa_forget(first);
	csa_forget(second);
	return CSA_OK;
}

/*
 * Writes a line to the tenant's log.
 */
static inline void csa_log(int32_t level, const char *text) { csa_v1_log(level, text, csa_length(text)); }

/*
 * Adds n to a count of the tenant's, which its metrics show. Returns OK, or what count
 * has answered.
 */
static inline int32_t csa_count(const char *name, int64_t n) { return csa_v1_count(name, csa_length(name), n); }

/*
 * The name of a code, such as "QUOTA".
 */
static inline const char *csa_name_of(int32_t code)
{
	static const char *const names[] = {"OK", "INVALID", "BAD_HANDLE", "AGAIN", "CLOSED", "DENIED", "QUOTA", "NOT_FOUND", "UNSUPPORTED",
		"TIMEOUT", "REFUSED", "UNREACHABLE", "TLS", "RESET", "CONFLICT"};

	return code > 0 ? "OK" : code < CSA_CONFLICT ? "unknown" : names[-code];
}

/*
 * Ends the instance, and all its connections. The text and the line of the source go to
 * the tenant's log.
 */
#define CSA_PANIC(text) csa_panic(__FILE__, __LINE__, text)

__attribute__((noreturn)) static inline void csa_panic(const char *file, int32_t line, const char *text)
{
	uint8_t said[CSA_MAX_LOG_LINE];
	struct csa_writer w = csa_into(said, sizeof said);

	csa_put_text(&w, file);
	csa_put_text(&w, ":");
	csa_put_decimal(&w, line);
	csa_put_text(&w, ": ");
	csa_put_text(&w, text);
	csa_v1_log(CSA_LOG_ERROR, said, w.len);
	__builtin_trap();
}

/* --- What CSA_SERVE calls --------------------------------------------------- */

/* Sends what waits; 1 when nothing waits any more, and more may be written. */
static CSA_ONCE int csa_conn_flush(struct csa_kept *k)
{
	while (k->len > 0) {
		int32_t mark = csa_conn_sends_messages(k) ? 4 : 0, len = k->len, n;
		const uint8_t *at = k->queue + k->start;

		if (mark)
			len = at[0] | at[1] << 8 | at[2] << 16 | at[3] << 24;
		n = csa_v1_send(k->conn, at + mark, len);
		if (n == CSA_AGAIN)
			return 0;
		if (n < 0) {
			k->len = 0;
			k->last = CSA_SHUTDOWN_MICROPROCESS;
			break;
		}
		if (n < len) {
			if (mark)
				csa_queue_mark(k->queue + k->start + n, len - n);
			mark = 0;
		}
		k->start += mark + n;
		k->len -= mark + n;
	}
	csa_free(k->queue);
	k->queue = 0;
	k->cap = k->start = 0;
	if (k->last >= 0) {
		int32_t what = k->last;

		k->last = -1;
		csa_v1_control(k->conn, what);
		return what == CSA_FINISH_SENDING;
	}
	return 1;
}

static inline int32_t csa_serve_open(const struct csa_handler *handler, int32_t conn)
{
	struct csa_kept *k = csa_kept_of(conn);
	int32_t e;

	if (!k)
		k = csa_keep(conn, handler, 0);
	if (!k)
		return CSA_QUOTA;
	csa_conn_flush(k);
	e = k->handler->open ? k->handler->open(conn, k + 1) : CSA_OK;
	csa_forget_gone();
	return e < 0 ? e : CSA_OK;
}

static inline int32_t csa_serve_data(int32_t conn, const uint8_t *bytes, int32_t len)
{
	struct csa_kept *k = csa_kept_of(conn);
	int32_t n;

	if (!k)
		return CSA_BAD_HANDLE;
	if (!csa_conn_flush(k))
		return 0;
	n = k->handler->data(conn, k + 1, bytes, len);
	csa_forget_gone();
	return n == CSA_AGAIN ? 0 : n;
}

static inline void csa_serve_writable(int32_t conn)
{
	struct csa_kept *k = csa_kept_of(conn);

	if (k && csa_conn_flush(k) && k->handler->writable) {
		k->handler->writable(conn, k + 1);
		csa_forget_gone();
	}
}

static inline void csa_serve_secured(int32_t conn, int32_t status)
{
	struct csa_kept *k = csa_kept_of(conn);

	if (!k)
		return;
	if (status == CSA_OK)
		csa_conn_flush(k);
	if (k->handler->secured)
		k->handler->secured(conn, k + 1, status);
	csa_forget_gone();
}

static inline void csa_serve_eof(int32_t conn)
{
	struct csa_kept *k = csa_kept_of(conn);

	if (!k)
		return;
	if (k->handler->eof)
		k->handler->eof(conn, k + 1);
	else
		csa_conn_close(conn);
	csa_forget_gone();
}

static inline void csa_serve_closed(int32_t conn, int32_t reason)
{
	struct csa_kept *k = csa_kept_of(conn);

	if (!k)
		return;
	if (k->handler->closed)
		k->handler->closed(conn, k + 1, reason);
	csa_forget(k);
	csa_forget_gone();
}

static inline void csa_serve_timer(const struct csa_handler *handler, int32_t conn, int32_t token)
{
	struct csa_kept *k = csa_kept_of(conn);

	if (conn < 0 && handler->instance_timer)
		handler->instance_timer(token);
	if (k && k->handler->timer)
		k->handler->timer(conn, k + 1, token);
	csa_forget_gone();
}

/*
 * Has a handler serve the connections that are accepted, with a window of so many bytes.
 * For the top level of one source file.
 */
#define CSA_SERVE(handler, length)                                                           \
	CSA_DEFINE_WINDOW(csa_window_bytes, length)                                          \
	int32_t csa_open(int32_t conn) { return csa_serve_open(&(handler), conn); }          \
	int32_t csa_data(int32_t conn, int32_t len)                                          \
	{                                                                                    \
		return csa_serve_data(conn, csa_window_bytes, len);                          \
	}                                                                                    \
	void csa_writable(int32_t conn) { csa_serve_writable(conn); }                        \
	void csa_secured(int32_t conn, int32_t status) { csa_serve_secured(conn, status); }  \
	void csa_eof(int32_t conn) { csa_serve_eof(conn); }                                  \
	void csa_closed(int32_t conn, int32_t reason) { csa_serve_closed(conn, reason); }    \
	void csa_timer(int32_t conn, int32_t token) { csa_serve_timer(&(handler), conn, token); }

#ifdef __cplusplus
}
#endif

#endif

/* A handler that has something for each function of the library: what a line says, it does. */
#include "csa_config.h"
#include "csa_handler.h"

/* What is kept of a client. */
struct client {
	char frames[16]; /* what messages are cut by; lines if it is empty */
	int32_t lines;
	int32_t upstream; /* 0: nothing was dialled */
	int relay;
};

/* What is kept of whom it has dialled. */
struct upstream {
	int32_t client;
	int relay;
};

/* Relays, as soon as what was written to the client is sent. */
static int32_t join(int32_t upstream, int32_t client)
{
	int32_t e = csa_conn_splice(upstream, client);

	return e == CSA_AGAIN ? CSA_OK : e; /* writable is called */
}

/* Writes a line: a word, and a code's name, a number or some bytes behind it. */
static int32_t say(int32_t conn, const char *word, struct csa_bytes rest)
{
	uint8_t buffer[2000];
	struct csa_writer w = csa_into(buffer, sizeof buffer);

	csa_put_text(&w, word);
	csa_put_bytes(&w, rest);
	csa_put_text(&w, "\n");
	return csa_conn_write_all(conn, &w);
}

static int32_t say_number(int32_t conn, const char *word, int64_t n)
{
	uint8_t digits[24];
	struct csa_writer w = csa_into(digits, sizeof digits);
	struct csa_bytes b = {digits, 0};

	csa_put_decimal(&w, n);
	b.len = w.len;
	return say(conn, word, b);
}

static int32_t say_code(int32_t conn, const char *word, int32_t code) { return say(conn, word, csa_text(csa_name_of(code))); }

/* --- Whom it has dialled ----------------------------------------------------- */

static int32_t upstream_open(int32_t conn, void *state)
{
	struct upstream *me = state;
	uint8_t local[64];
	int32_t e = say(me->client, "up, from ", csa_text(csa_conn_info(conn, CSA_INFO_LOCAL, local, sizeof local).len == 0 ? "true" : "false"));

	if (e < 0 || !csa_conn_dialled(conn))
		return e < 0 ? e : CSA_INVALID;
	return me->relay ? join(conn, me->client) : CSA_OK;
}

static int32_t upstream_data(int32_t conn, void *state, const uint8_t *bytes, int32_t len)
{
	struct upstream *me = state;
	int32_t e = csa_conn_write(me->client, bytes, len);

	(void)conn;
	return e < 0 ? e : len;
}

static void secured_to(int32_t client, int32_t status)
{
	uint8_t line[64];
	struct csa_writer w = csa_into(line, sizeof line);

	csa_put_text(&w, "secured ");
	csa_put_text(&w, csa_name_of(status));
	csa_v1_log(CSA_LOG_INFO, line, w.len);
	csa_put_text(&w, "\n");
	(void)!csa_conn_write_all(client, &w);
}

static void upstream_secured(int32_t conn, void *state, int32_t status)
{
	(void)conn;
	secured_to(((struct upstream *)state)->client, status);
}

static void upstream_eof(int32_t conn, void *state)
{
	(void)state;
	(void)!say_number(conn, "over after ", 0);
	csa_conn_close(conn);
}

static void upstream_closed(int32_t conn, void *state, int32_t reason)
{
	(void)conn;
	(void)!say_code(((struct upstream *)state)->client, "upstream ", reason);
}

static const struct csa_handler upstreams = {
	.state = sizeof(struct upstream),
	.open = upstream_open,
	.data = upstream_data,
	.secured = upstream_secured,
	.eof = upstream_eof,
	.closed = upstream_closed,
};

/* --- Clients ------------------------------------------------------------------ */

/* The first message of the kind that frames names. */
static int32_t message(const char *frames, const uint8_t *bytes, int32_t len, struct csa_bytes *m)
{
	struct csa_bytes name = csa_text(frames);

	if (csa_is(name, "u8"))
		return csa_prefixed(bytes, len, CSA_U8, 100, m);
	if (csa_is(name, "u16be"))
		return csa_prefixed(bytes, len, CSA_U16_BE, 100, m);
	if (csa_is(name, "u16le"))
		return csa_prefixed(bytes, len, CSA_U16_LE, 100, m);
	if (csa_is(name, "u32be"))
		return csa_prefixed(bytes, len, CSA_U32_BE, 100, m);
	if (csa_is(name, "u32le"))
		return csa_prefixed(bytes, len, CSA_U32_LE, 100, m);
	if (csa_is(name, "fixed5"))
		return csa_fixed(bytes, len, 5, m);
	if (csa_is(name, "until--"))
		return csa_until(bytes, len, "--", 2, 100, m);
	return csa_line(bytes, len, 100, m);
}

static int32_t peer(int32_t conn)
{
	uint8_t line[200], part[64];
	struct csa_writer w = csa_into(line, sizeof line);

	csa_put_bytes(&w, csa_conn_info(conn, CSA_INFO_PEER, part, sizeof part));
	csa_put_text(&w, " ");
	csa_put_bytes(&w, csa_conn_info(conn, CSA_INFO_TRANSPORT, part, sizeof part));
	csa_put_text(&w, " ");
	csa_put_bytes(&w, csa_conn_info(conn, CSA_INFO_CERTIFICATE, part, sizeof part));
	csa_put_text(&w, "\n");
	return csa_conn_write_all(conn, &w);
}

static int32_t many(int32_t conn, int64_t n)
{
	uint8_t *bytes = csa_alloc((int32_t)n);
	int32_t e;

	if (!bytes)
		return CSA_QUOTA;
	for (int32_t i = 0; i < n; i++)
		bytes[i] = 'x';
	e = csa_conn_write(conn, bytes, (int32_t)n);
	csa_free(bytes);
	return e < 0 ? say_code(conn, "", e) : say(conn, "", csa_text(""));
}

/* The configuration, by fields and as text. */
static int32_t config(int32_t conn)
{
	static char greeting[8];
	static const struct csa_field fields[] = {CSA_TEXT_FIELD("greeting", greeting)};
	struct csa_bytes text = csa_config_text();
	int32_t e = csa_configure(fields, CSA_COUNT(fields));

	if (e == CSA_OK)
		e = csa_is(csa_text(greeting), "hi") && text.at ? say(conn, "", text) : CSA_NOT_FOUND;
	csa_free((void *)text.at);
	return e;
}

static const char *truth(int true) { return true ? "true" : "false"; }

static int is_random(void)
{
	uint8_t a[32] = {0};
	int any = 0;

	csa_v1_random(a, sizeof a);
	for (int i = 0; i < 32; i++)
		any |= a[i];
	return any != 0;
}

static int32_t dial(int32_t conn, struct client *me, struct csa_bytes address, int relay)
{
	char text[100] = {0};
	struct upstream *upstream;

	csa_copy(text, address.at, address.len);
	me->upstream = csa_dial(text, &upstreams);
	if (me->upstream < 0)
		return me->upstream;
	me->relay = relay;
	upstream = csa_conn_state(me->upstream);
	upstream->client = conn;
	upstream->relay = relay;
	return CSA_OK;
}

static int32_t hear(int32_t conn, struct client *me, struct csa_bytes line)
{
	struct csa_bytes word, rest;
	int64_t n = 0;
	char text[101] = {0};
	int number;

	csa_cut(line, ' ', &word, &rest);
	csa_copy(text, rest.at, rest.len);
	number = csa_number(rest, &n) == CSA_OK;
	me->lines++;
	if (csa_is(word, "config"))
		return config(conn);
	if (csa_is(word, "peer"))
		return peer(conn);
	if (csa_is(word, "lines"))
		return say_number(conn, "", me->lines);
	if (csa_is(word, "timer") && number)
		return csa_v1_timer(conn, 1, (int32_t)n);
	if (csa_is(word, "clear"))
		return csa_v1_timer(conn, 1, -1);
	if (csa_is(word, "log")) {
		csa_log(CSA_LOG_WARN, text);
		return CSA_OK;
	}
	if (csa_is(word, "count"))
		return csa_count(text, 2);
	if (csa_is(word, "clock"))
		return say(conn, truth(csa_v1_clock(CSA_CLOCK_WALL) > csa_v1_clock(CSA_CLOCK_MONOTONIC)), csa_text(""));
	if (csa_is(word, "random"))
		return say(conn, truth(is_random()), csa_text(""));
	if (csa_is(word, "many") && number)
		return many(conn, n);
	if (csa_is(word, "limit") && number) {
		csa_conn_set_write_limit(conn, (int32_t)n);
		return CSA_OK;
	}
	if (csa_is(word, "frames")) {
		csa_copy(me->frames, text, sizeof me->frames);
		return CSA_OK;
	}
	if (csa_is(word, "want") && number)
		return csa_v1_want(conn, (int32_t)n);
	if (csa_is(word, "pause") && number) {
		csa_v1_receive(conn, 0);
		return csa_v1_timer(conn, 2, (int32_t)n);
	}
	if (csa_is(word, "tls"))
		return csa_v1_makessl(conn, CSA_TLS_SERVER, 0, 0);
	if (csa_is(word, "dial") || csa_is(word, "relay"))
		return dial(conn, me, rest, csa_is(word, "relay"));
	if (csa_is(word, "up"))
		return say(me->upstream, "", rest);
	if (csa_is(word, "upgrade"))
		return csa_v1_makessl(me->upstream, CSA_TLS_CLIENT, rest.at, rest.len);
	if (csa_is(word, "half"))
		csa_conn_finish_sending(conn);
	else if (csa_is(word, "abort"))
		csa_conn_abort(conn);
	else if (csa_is(word, "refuse"))
		return CSA_REFUSED;
	else if (csa_is(word, "panic")) {
		char all[200] = "it was told to: ";

		csa_copy(all + 16, text, sizeof text);
		CSA_PANIC(all);
	} else if (csa_is(word, "quit"))
		csa_conn_close(conn);
	else
		return csa_conn_write_text(conn, "?\n");
	return CSA_OK;
}

static int32_t client_open(int32_t conn, void *state)
{
	(void)state;
	return csa_conn_write_text(conn, "hello\n");
}

static int32_t client_data(int32_t conn, void *state, const uint8_t *bytes, int32_t len)
{
	struct client *me = state;
	struct csa_bytes m;
	int32_t used, done = 0, e;

	while ((used = message(me->frames, bytes + done, len - done, &m)) > 0) {
		done += used;
		if (me->frames[0] == 0) {
			e = hear(conn, me, m);
			if (e < 0)
				return e;
			if (csa_is(m, "tls") || me->relay)
				return done; /* what comes next is of the handshake, or the upstream's */
		} else if (csa_is(m, "lines")) {
			me->frames[0] = 0;
			e = csa_conn_write_text(conn, "lines\n");
			if (e < 0)
				return e;
		} else {
			uint8_t line[110];
			struct csa_writer w = csa_into(line, sizeof line);

			csa_put_text(&w, "[");
			csa_put_bytes(&w, m);
			csa_put_text(&w, "]\n");
			e = csa_conn_write_all(conn, &w);
			if (e < 0)
				return e;
		}
	}
	return used < 0 ? used : done;
}

static void client_writable(int32_t conn, void *state)
{
	struct client *me = state;

	if (me->relay && join(me->upstream, conn) < 0)
		csa_conn_abort(conn);
}

static void client_secured(int32_t conn, void *state, int32_t status)
{
	(void)state;
	secured_to(conn, status);
}

static void client_eof(int32_t conn, void *state)
{
	(void)!say_number(conn, "over after ", ((struct client *)state)->lines);
	csa_conn_close(conn);
}

static void client_timer(int32_t conn, void *state, int32_t token)
{
	(void)state;
	if (token != 2) {
		(void)!say_number(conn, "timer ", token);
		return;
	}
	csa_v1_receive(conn, 1);
	(void)!csa_conn_write_text(conn, "resumed\n");
}

static void instance_timer(int32_t token)
{
	if (token == 7)
		csa_log(CSA_LOG_INFO, "instance timer 7");
}

static const struct csa_handler clients = {
	.state = sizeof(struct client),
	.open = client_open,
	.data = client_data,
	.writable = client_writable,
	.secured = client_secured,
	.eof = client_eof,
	.timer = client_timer,
	.instance_timer = instance_timer,
};
CSA_SERVE(clients, 65536)

int32_t csa_start(void) { return csa_v1_timer(-1, 7, 60000); }

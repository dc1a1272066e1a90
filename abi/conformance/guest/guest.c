/*
 * The guest of the conformance kit: a handler that calls whatever host function it is told to, from
 * whatever callback, and tells all that the host does. It uses no SDK. What it knows of the contract
 * is written here, as an implementer reads it in abi/ABI.md.
 *
 * Its connections have numbers, 1 and on, in the order in which it has heard of them. The first that
 * has not ended gives commands, a line each, and is told everything: each callback, and each result
 * of a host function. docs/CONFORMANCE.md has the commands.
 */
#include <stdint.h>

#define HOST(name) __attribute__((import_module("csa_v1"), import_name(name)))
#define CALLBACK(name) __attribute__((export_name(name)))

HOST("send") int32_t host_send(int32_t conn, uint32_t ptr, int32_t len);
HOST("control") int32_t host_control(int32_t conn, int32_t what);
HOST("receive") int32_t host_receive(int32_t conn, int32_t on);
HOST("want") int32_t host_want(int32_t conn, int32_t n);
HOST("info") int32_t host_info(int32_t conn, int32_t key, uint32_t ptr, int32_t cap);
HOST("config") int32_t host_config(uint32_t ptr, int32_t cap);
HOST("timer") int32_t host_timer(int32_t conn, int32_t token, int32_t ms);
HOST("clock") int64_t host_clock(int32_t which);
HOST("random") int32_t host_random(uint32_t ptr, int32_t len);
HOST("log") int32_t host_log(int32_t level, uint32_t ptr, int32_t len);
HOST("count") int32_t host_count(uint32_t ptr, int32_t len, int64_t n);
HOST("connect") int32_t host_connect(uint32_t ptr, int32_t len);
HOST("makessl") int32_t host_makessl(int32_t conn, int32_t role, uint32_t ptr, int32_t len);
HOST("splice") int32_t host_splice(int32_t a, int32_t b);

static const char *const codes[] = {
	"OK",      "INVALID",   "BAD_HANDLE",  "AGAIN",   "CLOSED",  "DENIED",      "QUOTA",
	"NOT_FOUND", "UNSUPPORTED", "TIMEOUT", "REFUSED", "UNREACHABLE", "TLS", "RESET",
	"CONFLICT",
};

enum { WINDOW = 4096, BULK = 200000, TOLD = 65536, CONNECTIONS = 64, ORDERS = 32, ORDER = 256 };

static uint8_t window[WINDOW] __attribute__((aligned(16)));
static char bulk[BULK]; /* x, for what is to be long */
static char filled[1024]; /* by host functions */

/* --- Telling ---------------------------------------------------------------- */

static char told[TOLD];
static int32_t telling, sent; /* the end of what is to be told, and how much of it is sent */
static int32_t handles[CONNECTIONS + 1]; /* by number; 0: there is none yet */
static int dialled[CONNECTIONS + 1];
static int known;  /* the highest number */
static int teller; /* who is told; 0: nobody, and it waits */

static void tell_now(void)
{
	while (teller && sent < telling) {
		int32_t end = sent, n;

		while (told[end++] != '\n')
			;
		n = host_send(handles[teller], (uint32_t)(uintptr_t)(told + sent), end - sent);
		if (n <= 0)
			return; /* csa_writable comes, or csa_closed */
		sent += n;
	}
	if (sent == telling)
		sent = telling = 0;
}

static void put(char c)
{
	if (telling == TOLD)
		__builtin_trap(); /* the conversation is longer than this guest is made for */
	told[telling++] = c;
}

static void text(const char *s)
{
	while (*s)
		put(*s++);
}

static void number(int64_t n)
{
	char digits[20];
	int i = 0;
	uint64_t u = n < 0 ? -(uint64_t)n : (uint64_t)n;

	if (n < 0)
		put('-');
	do
		digits[i++] = (char)('0' + u % 10);
	while (u /= 10);
	while (i > 0)
		put(digits[--i]);
}

static void code(int32_t n)
{
	if (n <= 0 && n >= -14)
		text(codes[-n]);
	else
		number(n);
}

/* A result of which 0 is a number, too. */
static void count(int32_t n)
{
	if (n < 0)
		code(n);
	else
		number(n);
}

/* Bytes: long runs of one byte as "x * 1000". */
static void bytes(const char *p, int32_t n)
{
	int32_t run = 0;

	while (run < n && p[run] == p[0])
		run++;
	if (run == n && n > 16) {
		put(p[0]);
		text(" * ");
		number(n);
		return;
	}
	for (int32_t i = 0; i < n; i++) {
		if (p[i] == '\n')
			text("\\n");
		else
			put(p[i]);
	}
}

static void event(const char *name, int conn)
{
	text(name);
	put(' ');
	number(conn);
}

static void end_line(void)
{
	put('\n');
	tell_now();
}

/* --- Commands --------------------------------------------------------------- */

static struct order {
	char event[12], command[ORDER];
	int conn, stays;
} orders[ORDERS]; /* to be done in callbacks */

static int32_t answer;   /* what the callback returns */
static int stop;         /* no more commands in this callback */
static int64_t last[2];  /* of each clock, */
static int seen[2];      /* if there is one */

static int same(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return *a == *b;
}

static void copy(char *to, const char *from, int32_t size)
{
	int32_t i = 0;

	for (; i < size - 1 && from[i]; i++)
		to[i] = from[i];
	to[i] = 0;
}

/* Takes the next word off a command. */
static void word(const char **command, char *to, int32_t size)
{
	int32_t n = 0;

	while (**command && **command != ' ') {
		if (n < size - 1)
			to[n++] = **command;
		++*command;
	}
	if (**command)
		++*command;
	to[n] = 0;
}

static int64_t integer(const char *s)
{
	int negative = *s == '-';
	uint64_t n = 0;

	for (s += negative; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (uint64_t)(*s - '0');
	return negative ? -(int64_t)n : (int64_t)n;
}

/* Takes an argument: a number, or # and the number of a connection, for its handle. */
static int64_t argument(const char **command)
{
	char w[24];

	word(command, w, sizeof w);
	if (w[0] == '#') {
		int64_t n = integer(w + 1);
		return n > 0 && n <= known ? handles[n] : 0;
	}
	return integer(w);
}

struct range {
	uint32_t ptr;
	int32_t len;
};

/* Takes the rest: a text, or * and how many bytes of x, or @ and a pointer and a length. */
static struct range rest(const char **command)
{
	const char *p = *command;
	struct range r = {(uint32_t)(uintptr_t)p, 0};

	if (*p == '*')
		return (struct range){(uint32_t)(uintptr_t)bulk, (int32_t)integer(p + 1)};
	if (*p == '@') {
		++*command;
		r.ptr = (uint32_t)argument(command);
		r.len = (int32_t)argument(command);
		return r;
	}
	while (p[r.len])
		r.len++;
	return r;
}

/* Takes where a host function writes: nothing for all of filled, a number for so much of it. */
static struct range room(const char **command)
{
	struct range r = {(uint32_t)(uintptr_t)filled, sizeof filled};

	if (**command == '@')
		return rest(command);
	if (**command)
		r.len = (int32_t)argument(command);
	for (uint32_t i = 0; i < sizeof filled; i++)
		filled[i] = 0;
	return r;
}

static void copied(const char *name, struct range r, int32_t n)
{
	text(name);
	text(" = ");
	count(n);
	if (n > 0 && r.len > 0) {
		put(' ');
		bytes(filled, n < r.len ? n : r.len);
	}
	end_line();
}

static void number_of(int32_t handle, int dials)
{
	if (known == CONNECTIONS)
		__builtin_trap();
	handles[++known] = handle;
	dialled[known] = dials;
}

static void does(const char *command)
{
	char name[12], w[16];
	struct range r;
	int64_t a, b, n;
	int counts = 0;

	word(&command, name, sizeof name);
	if (same(name, "send")) {
		a = argument(&command);
		r = rest(&command);
		n = host_send((int32_t)a, r.ptr, r.len);
		counts = 1;
	} else if (same(name, "control")) {
		a = argument(&command);
		n = host_control((int32_t)a, (int32_t)argument(&command));
	} else if (same(name, "receive")) {
		a = argument(&command);
		n = host_receive((int32_t)a, (int32_t)argument(&command));
	} else if (same(name, "want")) {
		a = argument(&command);
		n = host_want((int32_t)a, (int32_t)argument(&command));
	} else if (same(name, "info")) {
		a = argument(&command);
		b = argument(&command);
		r = room(&command);
		copied(name, r, host_info((int32_t)a, (int32_t)b, r.ptr, r.len));
		return;
	} else if (same(name, "config")) {
		r = room(&command);
		copied(name, r, host_config(r.ptr, r.len));
		return;
	} else if (same(name, "timer")) {
		a = argument(&command);
		b = argument(&command);
		n = host_timer((int32_t)a, (int32_t)b, (int32_t)argument(&command));
	} else if (same(name, "clock")) {
		a = argument(&command);
		b = host_clock((int32_t)a);
		text("clock = ");
		if (a != 0 && a != 1)
			code((int32_t)b);
		else if (!seen[a])
			text("first");
		else {
			put('+');
			number((b - last[a] + 500000) / 1000000);
			text(" ms");
		}
		if (a == 0 || a == 1) {
			last[a] = b;
			seen[a] = 1;
		}
		end_line();
		return;
	} else if (same(name, "random")) {
		r = room(&command);
		n = host_random(r.ptr, r.len);
		text("random = ");
		code((int32_t)n);
		a = 0;
		for (uint32_t i = 0; i < sizeof filled; i++)
			if (filled[i])
				a = i + 1;
		text(a == 0 ? ", nothing" : a > r.len / 2 && a <= r.len ? ", all of it" : ", too little or too much");
		end_line();
		return;
	} else if (same(name, "log")) {
		a = argument(&command);
		r = rest(&command);
		n = host_log((int32_t)a, r.ptr, r.len);
	} else if (same(name, "count")) {
		a = argument(&command);
		r = rest(&command);
		n = host_count(r.ptr, r.len, a);
	} else if (same(name, "connect")) {
		r = rest(&command);
		n = host_connect(r.ptr, r.len);
		if (n > 0) {
			number_of((int32_t)n, 1);
			event("connect =", known);
			end_line();
			return;
		}
	} else if (same(name, "makessl")) {
		a = argument(&command);
		b = argument(&command);
		r = rest(&command);
		n = host_makessl((int32_t)a, (int32_t)b, r.ptr, r.len);
		stop = 1; /* what is left in the window came in the clear */
	} else if (same(name, "splice")) {
		a = argument(&command);
		n = host_splice((int32_t)a, (int32_t)argument(&command));
	} else if (same(name, "return")) {
		answer = (int32_t)argument(&command);
		return;
	} else if (same(name, "grow")) {
		n = (int64_t)__builtin_wasm_memory_grow(0, (uint32_t)argument(&command));
		text(n < 0 ? "grow failed" : "grown");
		end_line();
		return;
	} else if (same(name, "window")) {
		for (int i = 0; i < WINDOW; i++)
			window[i] = '?';
		return;
	} else if (same(name, "positive")) {
		n = argument(&command) > 0;
		counts = 1;
	} else if (same(name, "same")) {
		a = argument(&command);
		n = a == argument(&command);
		counts = 1;
	} else if (same(name, "trap")) {
		__builtin_trap();
	} else if (same(name, "spin")) {
		for (volatile int forever = 1; forever;)
			;
		return;
	} else if (same(name, "on") || same(name, "always")) {
		for (int i = 0; i < ORDERS; i++) {
			struct order *o = &orders[i];
			if (o->conn)
				continue;
			o->stays = same(name, "always");
			word(&command, o->event, sizeof o->event);
			word(&command, w, sizeof w);
			o->conn = (int)integer(w + 1);
			copy(o->command, command, sizeof o->command);
			return;
		}
		__builtin_trap();
	} else if (same(name, "forget")) {
		for (int i = 0; i < ORDERS; i++)
			orders[i].conn = 0;
		return;
	} else {
		text("what is ");
		text(name);
		end_line();
		return;
	}
	text(name);
	text(" = ");
	if (counts)
		count((int32_t)n);
	else
		code((int32_t)n);
	end_line();
}

/* --- Callbacks -------------------------------------------------------------- */

static int depth;

static void enter(void)
{
	if (depth++)
		__builtin_trap(); /* a callback while another one runs */
	answer = 0;
	stop = 0;
}

static void leave(void) { depth--; }

/* Does what it was told to do in this callback of the connection. */
static void ordered(const char *event, int conn)
{
	for (int i = 0; i < ORDERS; i++) {
		char command[ORDER];
		struct order *o = &orders[i];

		if (o->conn != conn || !same(o->event, event))
			continue;
		copy(command, o->command, sizeof command);
		if (!o->stays)
			o->conn = 0;
		does(command);
	}
}

static int find(int32_t handle)
{
	for (int i = known; i > 0; i--)
		if (handles[i] == handle)
			return i;
	text("a strange handle");
	end_line();
	return 0;
}

CALLBACK("csa_window") int64_t csa_window(void)
{
	return (int64_t)((uint64_t)(uintptr_t)window << 32 | WINDOW);
}

CALLBACK("csa_start") int32_t csa_start(void)
{
	enter();
	for (int i = 0; i < BULK; i++)
		bulk[i] = 'x';
	text("start");
	end_line();
	leave();
	return 0;
}

CALLBACK("csa_reseed") void csa_reseed(void)
{
	enter();
	text("reseed");
	end_line();
	leave();
}

CALLBACK("csa_open") int32_t csa_open(int32_t conn)
{
	int n = 0;

	enter();
	for (int i = 1; i <= known; i++)
		if (handles[i] == conn && dialled[i])
			n = i;
	if (!n) {
		number_of(conn, 0);
		n = known;
		if (!teller)
			teller = n;
	}
	event("open", n);
	end_line();
	ordered("open", n);
	leave();
	return answer;
}

/* Commands, as far as their lines are whole. */
static int32_t commands(int32_t len)
{
	int32_t taken = 0;

	while (!stop) {
		int32_t end = taken;
		char command[WINDOW];

		while (end < len && window[end] != '\n')
			end++;
		if (end == len)
			break;
		for (int32_t i = taken; i < end; i++)
			command[i - taken] = (char)window[i];
		command[end - taken] = 0;
		taken = end + 1;
		does(command);
	}
	return taken;
}

CALLBACK("csa_data") int32_t csa_data(int32_t conn, int32_t len)
{
	int n;

	enter();
	n = find(conn);
	if (n && n == teller) {
		answer = commands(len);
	} else {
		answer = len;
		event("data", n);
		put(' ');
		bytes((const char *)window, len);
		end_line();
		ordered("data", n);
	}
	leave();
	return answer;
}

CALLBACK("csa_writable") void csa_writable(int32_t conn)
{
	int n;

	enter();
	n = find(conn);
	if (n == teller) {
		tell_now();
	} else {
		event("writable", n);
		end_line();
	}
	ordered("writable", n);
	leave();
}

CALLBACK("csa_secured") void csa_secured(int32_t conn, int32_t status)
{
	int n;

	enter();
	n = find(conn);
	event("secured", n);
	put(' ');
	code(status);
	end_line();
	ordered("secured", n);
	leave();
}

CALLBACK("csa_eof") void csa_eof(int32_t conn)
{
	int n;

	enter();
	n = find(conn);
	event("eof", n);
	end_line();
	ordered("eof", n);
	leave();
}

CALLBACK("csa_closed") void csa_closed(int32_t conn, int32_t reason)
{
	int n;

	enter();
	n = find(conn);
	if (n == teller)
		teller = 0;
	event("closed", n);
	put(' ');
	text(reason <= 0 && reason >= -14 ? codes[-reason] : "nonsense");
	end_line();
	ordered("closed", n);
	leave();
}

CALLBACK("csa_timer") void csa_timer(int32_t conn, int32_t token)
{
	int n = -1;

	enter();
	if (conn != -1)
		n = find(conn);
	event("timer", n);
	put(' ');
	number(token);
	end_line();
	ordered("timer", n);
	leave();
}

CALLBACK("csa_result") void csa_result(int32_t token, int32_t status, int64_t revision, int32_t len)
{
	enter();
	event("result", token);
	put(' ');
	code(status);
	if (revision || len) {
		text(" at ");
		number(revision);
	}
	if (len) {
		put(' ');
		bytes((const char *)window, len);
	}
	end_line();
	leave();
}

CALLBACK("csa_stop") void csa_stop(void)
{
	enter();
	text("stop");
	end_line();
	leave();
}

/* What of the library needs no connection: it is tried when the handler starts, and a client is told
 * which line does not hold. */
#include "csa_config.h"
#include "csa_handler.h"

static int32_t wrong; /* the first line that does not hold */

#define HOLDS(what) ((what) || wrong ? (void)0 : (void)(wrong = __LINE__))

static struct csa_bytes m;

/* Whether a function of framing has found what it should. */
static int found(int32_t used, int32_t want, const char *text) { return used == want && (used <= 0 || csa_is(m, text)); }

#define AS_BYTES(literal) (const uint8_t *)literal, (int32_t)sizeof literal - 1
#define LINE(literal, most) csa_line(AS_BYTES(literal), most, &m)
#define UNTIL(literal, most) csa_until(AS_BYTES(literal), "--", 2, most, &m)
#define PREFIXED(literal, prefix) csa_prefixed(AS_BYTES(literal), prefix, 9, &m)

static void framing(void)
{
	HOLDS(found(LINE("ab\r\ncd", 10), 4, "ab"));
	HOLDS(found(LINE("ab\ncd", 2), 3, "ab"));
	HOLDS(found(LINE("ab\r\n", 2), 4, "ab"));
	HOLDS(found(LINE("\n", 0), 1, ""));
	HOLDS(LINE("ab", 2) == 0);
	HOLDS(LINE("ab\r", 2) == 0);
	HOLDS(LINE("abcd", 2) == CSA_INVALID);
	HOLDS(LINE("abc\n", 2) == CSA_INVALID);
	HOLDS(found(UNTIL("ab--cd", 5), 4, "ab"));
	HOLDS(found(UNTIL("a---cd", 5), 3, "a"));
	HOLDS(found(UNTIL("ab--", 2), 4, "ab"));
	HOLDS(UNTIL("ab-", 2) == 0);
	HOLDS(UNTIL("abc-", 2) == CSA_INVALID);
	HOLDS(UNTIL("abc--", 2) == CSA_INVALID);
	HOLDS(csa_until(AS_BYTES("ab"), "", 0, 9, &m) == CSA_INVALID);
	HOLDS(found(csa_fixed(AS_BYTES("abc"), 2, &m), 2, "ab"));
	HOLDS(csa_fixed(AS_BYTES("abc"), 4, &m) == 0);
	HOLDS(csa_fixed(AS_BYTES("abc"), 0, &m) == CSA_INVALID);
	HOLDS(found(PREFIXED("\x02" "abc", CSA_U8), 3, "ab"));
	HOLDS(found(PREFIXED("\x00\x01" "a", CSA_U16_BE), 3, "a"));
	HOLDS(found(PREFIXED("\x01\x00" "a", CSA_U16_LE), 3, "a"));
	HOLDS(found(PREFIXED("\x00\x00\x00\x01" "a", CSA_U32_BE), 5, "a"));
	HOLDS(found(PREFIXED("\x01\x00\x00\x00" "a", CSA_U32_LE), 5, "a"));
	HOLDS(PREFIXED("\x00\x00\x00\x02" "a", CSA_U32_BE) == 0);
	HOLDS(PREFIXED("\x00\x00", CSA_U32_BE) == 0);
	HOLDS(PREFIXED("\xff\xff\xff\xff", CSA_U32_BE) == CSA_INVALID);
	HOLDS(csa_prefixed(AS_BYTES("\x00"), CSA_U8, -1, &m) == CSA_INVALID);
}

static void numbers(void)
{
	static const struct {
		const char *text;
		int64_t want;
	} good[] = {{"0", 0}, {"-0", 0}, {"42", 42}, {"-7", -7}, {"9223372036854775807", INT64_MAX}, {"-9223372036854775808", INT64_MIN}};
	static const char *const bad[] = {"", "-", "+1", "1 ", "1.5", "x", "9223372036854775808", "-9223372036854775809", "99999999999999999999"};
	int64_t n;

	for (int32_t i = 0; i < CSA_COUNT(good); i++)
		HOLDS(csa_number(csa_text(good[i].text), &n) == CSA_OK && n == good[i].want);
	for (int32_t i = 0; i < CSA_COUNT(bad); i++)
		HOLDS(csa_number(csa_text(bad[i]), &n) == CSA_INVALID);
}

static void reading(void)
{
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
	struct csa_bytes all = {bytes, sizeof bytes};
	struct csa_reader r = csa_read(all);

	HOLDS(csa_get_u8(&r) == 1);
	HOLDS(csa_get_u16be(&r) == 0x0203 && csa_get_u16le(&r) == 0x0504);
	HOLDS(csa_get_u32be(&r) == 0x06070809 && csa_get_u32le(&r) == 0x0d0c0b0a);
	HOLDS(csa_get_u64be(&r) == 0x0e0f101112131415 && csa_get_u64le(&r) == 0x1d1c1b1a19181716);
	HOLDS(csa_get_bytes(&r, 1).at == bytes + 29 && r.left == 1 && !r.failed);
	HOLDS(csa_get_u16be(&r) == 0 && r.failed && r.left == 0);
	HOLDS(csa_get_u8(&r) == 0);
	r = csa_read(all);
	HOLDS(csa_get_bytes(&r, -1).len == 0 && r.failed);
}

static void writing(void)
{
	uint8_t room[64];
	struct csa_writer w = csa_into(room, sizeof room);
	struct csa_bytes b = {room, 0};

	csa_put_u8(&w, 'a');
	csa_put_u16be(&w, 0x6263);
	csa_put_u16le(&w, 0x6564);
	csa_put_u32be(&w, 0x66676869);
	csa_put_u32le(&w, 0x6d6c6b6a);
	csa_put_u64be(&w, 0x6e6f707172737475);
	csa_put_u64le(&w, 0x3332317a79787776);
	b.len = csa_written(&w);
	HOLDS(csa_is(b, "abcdefghijklmnopqrstuvwxyz123"));
	w = csa_into(room, sizeof room);
	csa_put_decimal(&w, INT64_MIN);
	csa_put_text(&w, " ");
	csa_put_padded(&w, 7, 3);
	csa_put_text(&w, " ");
	csa_put_padded(&w, 1234, 3);
	csa_put_text(&w, " ");
	csa_put_hex(&w, "\x0f\xa0", 2);
	b.len = csa_written(&w);
	HOLDS(csa_is(b, "-9223372036854775808 007 1234 0fa0"));
	w = csa_into(room, 3);
	csa_put_text(&w, "ab");
	csa_put_text(&w, "cd");
	csa_put_text(&w, "e");
	HOLDS(w.failed && w.len == 2 && csa_written(&w) == CSA_QUOTA);
}

static void json(void)
{
	struct csa_bytes table = csa_text("{ \"a\" : [1, [2,3], \"]\\\"\"] ,\"b\\u0041\":{\"c\":true},\"n\":-1.5e3,\"e\":\"\"}");
	struct csa_bytes rest, value;
	uint8_t text[16];
	int32_t n;

	rest = csa_json_inside(csa_json_get(table, "a"));
	HOLDS(csa_json_next(&rest, &value) == 1 && csa_is(value, "1"));
	HOLDS(csa_json_next(&rest, &value) == 1 && csa_is(value, "[2,3]"));
	HOLDS(csa_json_next(&rest, &value) == 1 && csa_is(value, "\"]\\\"\""));
	HOLDS(csa_json_next(&rest, &value) == 0);
	HOLDS(csa_is(csa_json_get(csa_json_get(table, "bA"), "c"), "true"));
	HOLDS(csa_is(csa_json_get(table, "n"), "-1.5e3"));
	HOLDS(csa_json_text(csa_json_get(table, "e"), text, 0) == 0);
	HOLDS(csa_json_get(table, "c").at == 0);
	HOLDS(csa_json_get(csa_text("[1]"), "1").at == 0);
	n = csa_json_text(csa_text("\"a\\n\\u00e9\\u20ac\\ud83d\\ude00\""), text, sizeof text);
	HOLDS(n == 11);
	for (int32_t i = 0; i < n; i++)
		HOLDS(text[i] == (uint8_t)"a\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"[i]);
	HOLDS(csa_json_text(csa_text("\"\\ud83d\""), text, sizeof text) == 3 && text[0] == 0xef);
	HOLDS(csa_json_text(csa_text("\"abc\""), text, 2) == CSA_QUOTA);
	HOLDS(csa_json_text(csa_text("1"), text, sizeof text) == CSA_INVALID);
	HOLDS(csa_json_text(csa_text("\"\\u12\""), text, sizeof text) == CSA_INVALID);
	static const char *const broken[] = {"\"a", "[1", "{\"a\":", "]", "[\"a\\"};
	for (int32_t i = 0; i < CSA_COUNT(broken); i++) {
		int32_t e = 1;

		rest = csa_text(broken[i]);
		for (int tries = 0; e > 0 && tries < 9; tries++)
			e = csa_json_next(&rest, &value);
		HOLDS(e == CSA_INVALID);
	}
}

/* Blocks do not overlap, are on their boundaries, and are used again. */
static void memory(void)
{
	static const int32_t sizes[] = {0, 1, 8, 9, 100, 4000, 30000, 40000, 65528, 65529, 200000};
	uint8_t *blocks[44];
	void *last;

	for (int32_t i = 0; i < CSA_COUNT(blocks); i++) {
		int32_t size = sizes[i % CSA_COUNT(sizes)];

		blocks[i] = csa_alloc(size);
		HOLDS(blocks[i] && ((uintptr_t)blocks[i] & 7) == 0);
		for (int32_t j = 0; j < size; j++)
			blocks[i][j] = (uint8_t)i;
	}
	for (int32_t i = 0; i < CSA_COUNT(blocks); i++) {
		int same = 1;

		for (int32_t j = 0; j < sizes[i % CSA_COUNT(sizes)]; j++)
			same &= blocks[i][j] == (uint8_t)i;
		HOLDS(same);
		csa_free(blocks[i]);
	}
	csa_free(0);
	last = csa_alloc(200000);
	HOLDS(last == blocks[CSA_COUNT(blocks) - 1]);
	csa_free(last);
	HOLDS(csa_alloc(-1) == 0 && csa_alloc(INT32_MAX) == 0);
}

/* A thousand connections come and go, and each is found. */
static void connections(void)
{
	static const struct csa_handler handler = {.state = 4};

	for (int32_t i = 1; i <= 1000; i++)
		*(int32_t *)(csa_keep(i * 2048, &handler, 0) + 1) = i;
	for (int32_t i = 1; i <= 1000; i += 2)
		csa_forget(csa_kept_of(i * 2048));
	csa_forget_gone();
	for (int32_t i = 1; i <= 1000; i++) {
		int32_t *state = csa_conn_state(i * 2048);

		HOLDS(i % 2 == 1 ? state == 0 : state != 0 && *state == i);
		if (state)
			csa_forget(csa_kept_of(i * 2048));
		csa_forget_gone();
	}
	HOLDS(csa_connections.used == 0);
}

static char greeting[8] = "hello";
static int64_t limit = 3;
static int loud;

/* Reads the configuration; without one all is as it was. */
static int32_t configured(void)
{
	static const struct csa_field fields[] = {
		CSA_TEXT_FIELD("greeting", greeting),
		CSA_NUMBER_FIELD("limit", limit, -1, 10),
		CSA_FLAG_FIELD("loud", loud),
	};
	int32_t e = csa_configure(fields, CSA_COUNT(fields));

	HOLDS(e < 0 || limit == 3 || (limit == -1 && loud == 1 && csa_is(csa_text(greeting), "seven 7")));
	return e;
}

int32_t csa_start(void)
{
	framing();
	numbers();
	reading();
	writing();
	json();
	memory();
	connections();
	return configured();
}

static int32_t client_open(int32_t conn, void *state)
{
	uint8_t line[40];
	struct csa_writer w = csa_into(line, sizeof line);
	int32_t e;

	(void)state;
	csa_put_text(&w, wrong ? "units.c does not hold in line " : "all hold");
	if (wrong)
		csa_put_decimal(&w, wrong);
	csa_put_text(&w, "\r\n");
	e = csa_conn_write_all(conn, &w);
	csa_conn_close(conn);
	return e;
}

static int32_t client_data(int32_t conn, void *state, const uint8_t *bytes, int32_t len)
{
	(void)conn, (void)state, (void)bytes;
	return len;
}

static const struct csa_handler clients = {.open = client_open, .data = client_data};
CSA_SERVE(clients, 4096)

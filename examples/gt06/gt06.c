/* The protocol of GT06 and the many trackers that speak as it does, as gt06.js beside it has it: login,
 * heartbeat, position, alarm and information, in frames of both kinds. What a tracker says is logged,
 * a line each.
 *
 *   78 78  length (1)  protocol  content  serial (2)  CRC (2)  0d 0a
 *   79 79  length (2)  protocol  content  serial (2)  CRC (2)  0d 0a
 *
 * The length counts from the protocol to the CRC, which is X.25's, of all from the length to the serial
 * number.
 */
#include "../../sdk/c/csa_handler.h"

#define LOGIN_WITHIN 30000 /* milliseconds */
#define LOGIN_TIMER 1
#define MOST_LONG 1024 /* bytes that a long frame may count */
#define MOST_BAD 10    /* frames with a wrong CRC, in one connection */

enum { LOGIN = 0x01, POSITION = 0x12, HEARTBEAT = 0x13, ALARM = 0x16, INFORMATION = 0x94 };

static const char *const alarms[] = {"none", "SOS", "power cut", "shock", "into the fence", "out of the fence", "too fast"};

/* What is kept of a tracker. */
struct tracker {
	char imei[16]; /* 15 digits; empty before the login */
	int32_t bad;   /* frames with a wrong CRC */
};

struct frame {
	struct csa_bytes content;
	uint8_t protocol;
	uint16_t serial;
	int whole; /* its CRC is right */
};

/* A line of the log, in one piece of memory for all, since there is one thread. */
static struct csa_writer line(void)
{
	static uint8_t memory[CSA_MAX_LOG_LINE];

	return csa_into(memory, sizeof memory);
}

static void say(int32_t level, const struct csa_writer *w) { csa_v1_log(level, w->bytes, w->len); }

/* Says what is wrong with what a tracker has sent: before, a number if there is one, and after. */
static int32_t wrong(const char *before, int64_t number, int hex, const char *after)
{
	struct csa_writer w = line();

	csa_put_text(&w, before);
	if (hex) {
		uint8_t b[2] = {(uint8_t)(number >> 8), (uint8_t)number};

		csa_put_hex(&w, b, 2);
	} else if (number >= 0) {
		csa_put_decimal(&w, number);
	}
	csa_put_text(&w, after);
	say(CSA_LOG_WARN, &w);
	return CSA_INVALID;
}

static uint16_t x25(const uint8_t *bytes, int32_t len)
{
	uint16_t crc = 0xffff;

	for (int32_t i = 0; i < len; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0x8408 : crc >> 1);
	}
	return (uint16_t)~crc;
}

/* Takes the frame at the front of some bytes. Returns how many it takes up, 0 when it is not all there,
 * and INVALID for what is no frame. */
static int32_t frame_of(struct csa_bytes bytes, struct frame *f)
{
	struct csa_reader r = csa_read(bytes);
	uint16_t start = csa_get_u16be(&r);
	int32_t head = start == 0x7878 ? 3 : 4, length, end; /* the start and the length */

	if (bytes.len < 5)
		return 0;
	if (start != 0x7878 && start != 0x7979)
		return wrong("a frame begins with ", start, 1, ", and not with 7878 or 7979");
	length = head == 3 ? csa_get_u8(&r) : csa_get_u16be(&r);
	if (length < 5 || length > MOST_LONG)
		return wrong("a frame says that it has ", length, 0, " bytes");
	end = head + length + 2;
	if (bytes.len < end)
		return 0;
	f->protocol = csa_get_u8(&r);
	f->content = csa_get_bytes(&r, length - 5);
	f->serial = csa_get_u16be(&r);
	f->whole = csa_get_u16be(&r) == x25(bytes.at + 2, end - 6);
	if (csa_get_u16be(&r) != 0x0d0a)
		return wrong("a frame does not end in 0d 0a", -1, 0, "");
	return end;
}

static int32_t answer(int32_t conn, const struct frame *f)
{
	uint8_t bytes[10];
	struct csa_writer w = csa_into(bytes, sizeof bytes);

	csa_put_u16be(&w, 0x7878);
	csa_put_u8(&w, 5);
	csa_put_u8(&w, f->protocol);
	csa_put_u16be(&w, f->serial);
	csa_put_u16be(&w, x25(bytes + 2, w.len - 2));
	csa_put_text(&w, "\r\n");
	return csa_conn_write_all(conn, &w);
}

/* A field of a line: its name, and a number. */
static void field(struct csa_writer *w, const char *name, uint64_t n)
{
	csa_put_text(w, name);
	csa_put_padded(w, n, 1);
}

/* A latitude or a longitude, which has 1,800,000 a degree, with six decimals. */
static void degrees(struct csa_writer *w, const char *name, uint32_t n, int negative)
{
	uint64_t millionths = ((uint64_t)n * 10 + 9) / 18;

	csa_put_text(w, name);
	if (negative)
		csa_put_text(w, "-");
	csa_put_padded(w, millionths / 1000000, 1);
	csa_put_text(w, ".");
	csa_put_padded(w, millionths % 1000000, 6);
}

/* Time and place, with which positions and alarms begin: 18 bytes. */
static int32_t place(struct csa_writer *w, struct csa_bytes content)
{
	struct csa_reader r = csa_read(content);
	uint8_t time[6], satellites, speed;
	uint32_t latitude, longitude;
	uint16_t course;

	for (int i = 0; i < 6; i++)
		time[i] = csa_get_u8(&r);
	satellites = csa_get_u8(&r);
	latitude = csa_get_u32be(&r);
	longitude = csa_get_u32be(&r);
	speed = csa_get_u8(&r); /* km/h */
	course = csa_get_u16be(&r);
	if (r.failed)
		return wrong("a position has 18 bytes, and ", content.len, 0, " are there");
	csa_put_text(w, " at=20");
	for (int i = 0; i < 6; i++) {
		csa_put_padded(w, time[i], 2);
		csa_put(w, &"--T::Z"[i], 1);
	}
	degrees(w, " latitude=", latitude, !(course & 0x0400)); /* north, if the bit is set */
	degrees(w, " longitude=", longitude, course & 0x0800);  /* west, if it is */
	field(w, " speed=", speed);
	field(w, " course=", course & 0x03ff);
	field(w, " satellites=", satellites & 15);
	csa_put_text(w, course & 0x1000 ? " fixed=true" : " fixed=false");
	return CSA_OK;
}

/* The beginning of a line: what it is about, and whose. */
static struct csa_writer line_of(const char *what, const struct tracker *me)
{
	struct csa_writer w = line();

	csa_put_text(&w, what);
	csa_put_text(&w, me->imei);
	return w;
}

static int32_t login(int32_t conn, struct tracker *me, const struct frame *f)
{
	char digits[17] = {0};
	struct csa_writer w = csa_into(digits, 16);

	if (f->content.len < 8)
		return wrong("a login has no IMEI", -1, 0, "");
	csa_put_hex(&w, f->content.at, 8); /* two digits a byte, the first of which is none of it */
	for (int i = 1; i < 16; i++) {
		if (digits[i] > '9')
			return wrong("the IMEI of a login has other digits than 0 to 9", -1, 0, "");
	}
	csa_copy(me->imei, digits + 1, 16);
	csa_v1_timer(conn, LOGIN_TIMER, -1);
	w = line_of("login ", me);
	say(CSA_LOG_INFO, &w);
	return answer(conn, f);
}

static int32_t heartbeat(int32_t conn, struct tracker *me, const struct frame *f)
{
	struct csa_reader r = csa_read(f->content);
	uint8_t state = csa_get_u8(&r), voltage = csa_get_u8(&r), signal = csa_get_u8(&r);
	struct csa_writer w = line_of("heartbeat ", me);

	if (r.failed)
		return wrong("a heartbeat has 3 bytes, and ", f->content.len, 0, " are there");
	csa_put_text(&w, " state=");
	csa_put_hex(&w, &state, 1);
	field(&w, " voltage=", voltage);
	field(&w, " signal=", signal);
	say(CSA_LOG_INFO, &w);
	return answer(conn, f);
}

static int32_t position(struct tracker *me, const struct frame *f)
{
	struct csa_writer w = line_of("position ", me);
	int32_t e = place(&w, f->content);

	if (e < 0)
		return e;
	csa_count("gt06_positions", 1);
	say(CSA_LOG_INFO, &w);
	return CSA_OK;
}

static int32_t alarm(int32_t conn, struct tracker *me, const struct frame *f)
{
	struct csa_writer w = line_of("alarm ", me);
	uint8_t kind = f->content.len < 2 ? 0 : f->content.at[f->content.len - 2];
	int32_t e;

	csa_put_text(&w, " kind=\"");
	if (kind < sizeof alarms / sizeof alarms[0])
		csa_put_text(&w, alarms[kind]);
	else
		csa_put_decimal(&w, kind);
	csa_put_text(&w, "\"");
	e = place(&w, f->content);
	if (e < 0)
		return e;
	csa_count("gt06_alarms", 1);
	say(CSA_LOG_WARN, &w);
	return answer(conn, f);
}

static int32_t information(struct tracker *me, const struct frame *f)
{
	struct csa_reader r = csa_read(f->content);
	struct csa_writer w = line_of("information ", me);

	field(&w, " kind=", csa_get_u8(&r));
	csa_put_text(&w, " content=");
	/* A line of the log has room for this much. */
	csa_put_hex(&w, r.at, r.left < 400 ? r.left : 400);
	if (r.failed)
		return wrong("information has no kind", -1, 0, "");
	say(CSA_LOG_INFO, &w);
	return CSA_OK;
}

static int32_t hear(int32_t conn, struct tracker *me, const struct frame *f)
{
	if (!f->whole) {
		csa_count("gt06_bad_frames", 1);
		if (++me->bad > MOST_BAD)
			return wrong("more than ", MOST_BAD, 0, " frames have a wrong CRC");
		return CSA_OK; /* the tracker sends it again */
	}
	if (me->imei[0] == 0 && f->protocol != LOGIN)
		return wrong("a tracker says something before its login", -1, 0, "");
	switch (f->protocol) {
	case LOGIN:
		return login(conn, me, f);
	case HEARTBEAT:
		return heartbeat(conn, me, f);
	case POSITION:
		return position(me, f);
	case ALARM:
		return alarm(conn, me, f);
	case INFORMATION:
		return information(me, f);
	}
	return CSA_OK; /* those that are not known need no answer */
}

static int32_t tracker_open(int32_t conn, void *state)
{
	(void)state;
	return csa_v1_timer(conn, LOGIN_TIMER, LOGIN_WITHIN);
}

/* It answers how many bytes it has used; the beginning of a frame comes again with its end. */
static int32_t tracker_data(int32_t conn, void *state, const uint8_t *bytes, int32_t len)
{
	struct csa_bytes rest = {bytes, len};
	struct frame f;
	int32_t used;

	while ((used = frame_of(rest, &f)) > 0) {
		int32_t e = hear(conn, state, &f);

		if (e < 0)
			return e;
		rest.at += used;
		rest.len -= used;
	}
	return used < 0 ? used : len - rest.len;
}

static void tracker_timer(int32_t conn, void *state, int32_t token)
{
	struct csa_writer w = line();
	uint8_t peer[64];

	(void)state, (void)token;
	csa_put_text(&w, "no login from ");
	csa_put_bytes(&w, csa_conn_info(conn, CSA_INFO_PEER, peer, sizeof peer));
	say(CSA_LOG_INFO, &w);
	csa_conn_close(conn);
}

static const struct csa_handler trackers = {
	.state = sizeof(struct tracker),
	.open = tracker_open,
	.data = tracker_data,
	.timer = tracker_timer,
};
CSA_SERVE(trackers, 4096)

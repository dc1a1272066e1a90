/* csa_bytes.h: messages in a stream of bytes, and what is in a message: framing,
 * readers and writers. It needs no libc, and csa.h for the codes alone.
 *
 *     struct csa_bytes line;
 *     int32_t used, done = 0;
 *
 *     while ((used = csa_line(bytes + done, len - done, 1000, &line)) > 0) {
 *         ... line.at, line.len ...
 *         done += used;
 *     }
 *     return used < 0 ? used : done;
 */
#ifndef CSA_BYTES_H
#define CSA_BYTES_H

#include "csa.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of a function that is not copied to where it is called, so that modules stay small. */
#define CSA_ONCE inline __attribute__((noinline))

/* Some bytes that are somewhere else. It owns nothing: bytes of the window are there
 * until csa_data returns. */
struct csa_bytes {
	const uint8_t *at;
	int32_t len;
};

/*
 * Copies len bytes. The two places do not overlap.
 */
static inline void csa_copy(void *to, const void *from, int32_t len)
{
#ifdef __wasm_bulk_memory__
	__builtin_memcpy(to, from, (unsigned long)len);
#else
	uint8_t *t = (uint8_t *)to;
	const uint8_t *f = (const uint8_t *)from;

	for (int32_t i = 0; i < len; i++)
		t[i] = f[i];
#endif
}

/*
 * How long a text is that ends with a zero byte.
 */
static inline int32_t csa_length(const char *text)
{
	int32_t n = 0;

	while (text[n] != 0)
		n++;
	return n;
}

/*
 * The bytes of a text that ends with a zero byte, without that.
 */
static inline struct csa_bytes csa_text(const char *text)
{
	struct csa_bytes b;

	b.at = (const uint8_t *)text;
	b.len = csa_length(text);
	return b;
}

/*
 * Whether b has the same bytes as a text that ends with a zero byte.
 */
static inline int csa_is(struct csa_bytes b, const char *text)
{
	int32_t i = 0;

	while (i < b.len && text[i] != 0 && b.at[i] == (uint8_t)text[i])
		i++;
	return i == b.len && text[i] == 0;
}

/*
 * Cuts b at the first byte that is mark: first is what stands before it, and rest what
 * stands behind. Without that byte first is all of b, and rest is empty.
 */
static inline void csa_cut(struct csa_bytes b, uint8_t mark, struct csa_bytes *first, struct csa_bytes *rest)
{
	int32_t i = 0;

	while (i < b.len && b.at[i] != mark)
		i++;
	first->at = b.at;
	first->len = i;
	rest->at = b.at + i + (i < b.len);
	rest->len = b.len - i - (i < b.len);
}

/*
 * Reads a number in decimal digits, with a minus sign or without, which is all of b.
 * Returns OK, or INVALID: it is something else, or does not fit.
 */
static inline CSA_MUST_USE int32_t csa_number(struct csa_bytes b, int64_t *number)
{
	int minus = b.len > 0 && b.at[0] == '-';
	int64_t n = 0;

	if (b.len == minus)
		return CSA_INVALID;
	/* The least number has no positive one, so it is summed up below 0. */
	for (int32_t i = minus; i < b.len; i++) {
		int64_t digit = b.at[i] - '0';

		if (digit < 0 || digit > 9 || n < (INT64_MIN + digit) / 10)
			return CSA_INVALID;
		n = n * 10 - digit;
	}
	if (!minus && n == INT64_MIN)
		return CSA_INVALID;
	*number = minus ? n : -n;
	return CSA_OK;
}

/* --- Framing ---------------------------------------------------------------- */

/*
 * Each function is given bytes as csa_data has them, from the beginning of a message
 * on. It returns how many of them the message takes up, and sets *message to what is in
 * it; 0 when it is not all there; INVALID when it is longer than most bytes, since the
 * peer would fill memory. The window has to have room for a message with its mark or
 * length.
 */

/*
 * A line, without the line feed that ends it, nor a carriage return before that.
 */
static inline CSA_MUST_USE int32_t csa_line(const uint8_t *bytes, int32_t len, int32_t most, struct csa_bytes *message)
{
	int32_t i = 0;

	while (i < len && bytes[i] != '\n')
		i++;
	if (i == len)
		return len - 1 > most ? CSA_INVALID : 0;
	message->at = bytes;
	message->len = i > 0 && bytes[i - 1] == '\r' ? i - 1 : i;
	return message->len > most ? CSA_INVALID : i + 1;
}

/*
 * What stands before a delimiter of size bytes. INVALID also means that size is not
 * above 0.
 */
static inline CSA_MUST_USE int32_t csa_until(const uint8_t *bytes, int32_t len, const void *delimiter, int32_t size, int32_t most, struct csa_bytes *message)
{
	const uint8_t *mark = (const uint8_t *)delimiter;

	if (size <= 0)
		return CSA_INVALID;
	for (int32_t i = 0; i <= len - size && i <= most; i++) {
		int32_t same = 0;

		while (same < size && bytes[i + same] == mark[same])
			same++;
		if (same == size) {
			message->at = bytes;
			message->len = i;
			return i + size;
		}
	}
	return len - size >= most ? CSA_INVALID : 0;
}

/*
 * A message of so many bytes. INVALID means that size is not above 0.
 */
static inline CSA_MUST_USE int32_t csa_fixed(const uint8_t *bytes, int32_t len, int32_t size, struct csa_bytes *message)
{
	if (size <= 0)
		return CSA_INVALID;
	message->at = bytes;
	message->len = size;
	return len < size ? 0 : size;
}

/*
 * How a length is written in front of a message: in 1, 2 or 4 bytes, with the greatest
 * one first (BE) or last (LE).
 */
enum csa_prefix { CSA_U8, CSA_U16_BE, CSA_U16_LE, CSA_U32_BE, CSA_U32_LE };

/*
 * A message with its length in front, which does not count itself.
 */
static inline CSA_MUST_USE int32_t csa_prefixed(const uint8_t *bytes, int32_t len, enum csa_prefix prefix, int32_t most, struct csa_bytes *message)
{
	int32_t size = prefix == CSA_U8 ? 1 : prefix == CSA_U16_BE || prefix == CSA_U16_LE ? 2 : 4;
	int big = prefix == CSA_U16_BE || prefix == CSA_U32_BE;
	uint32_t n = 0;

	if (len < size)
		return 0;
	for (int32_t i = 0; i < size; i++)
		n = n << 8 | bytes[big ? i : size - 1 - i];
	if (most < 0 || n > (uint32_t)most)
		return CSA_INVALID;
	message->at = bytes + size;
	message->len = (int32_t)n;
	return len - size < (int32_t)n ? 0 : size + (int32_t)n;
}

/* --- Reading ---------------------------------------------------------------- */

/*
 * A reader takes numbers and bytes from the front of a message. What is not there reads
 * as zeros, and sets failed: one look at it behind the last one is enough.
 *
 *     struct csa_reader r = csa_read(message);
 *     uint16_t kind = csa_get_u16be(&r);
 *     struct csa_bytes name = csa_get_bytes(&r, csa_get_u8(&r));
 *
 *     if (r.failed)
 *         return CSA_INVALID;
 */
struct csa_reader {
	const uint8_t *at;
	int32_t left; /* how many bytes follow */
	int failed;   /* whether more was asked for than was there */
};

static inline struct csa_reader csa_read(struct csa_bytes message)
{
	struct csa_reader r;

	r.at = message.at;
	r.left = message.len;
	r.failed = 0;
	return r;
}

/*
 * The next len bytes, where they are. When fewer are there it is none of them.
 */
static inline struct csa_bytes csa_get_bytes(struct csa_reader *r, int32_t len)
{
	struct csa_bytes b;

	if (len < 0 || len > r->left) {
		r->failed = 1;
		r->left = 0;
		len = 0;
	}
	b.at = r->at;
	b.len = len;
	r->at += len;
	r->left -= len;
	return b;
}

/* The next number of 1 to 8 bytes. */
static CSA_ONCE uint64_t csa_get_number(struct csa_reader *r, int32_t size, int big)
{
	struct csa_bytes b = csa_get_bytes(r, size);
	uint64_t n = 0;

	for (int32_t i = 0; i < b.len; i++)
		n = n << 8 | b.at[big ? i : b.len - 1 - i];
	return n;
}

static inline uint8_t csa_get_u8(struct csa_reader *r) { return (uint8_t)csa_get_number(r, 1, 1); }
static inline uint16_t csa_get_u16be(struct csa_reader *r) { return (uint16_t)csa_get_number(r, 2, 1); }
static inline uint16_t csa_get_u16le(struct csa_reader *r) { return (uint16_t)csa_get_number(r, 2, 0); }
static inline uint32_t csa_get_u32be(struct csa_reader *r) { return (uint32_t)csa_get_number(r, 4, 1); }
static inline uint32_t csa_get_u32le(struct csa_reader *r) { return (uint32_t)csa_get_number(r, 4, 0); }
static inline uint64_t csa_get_u64be(struct csa_reader *r) { return csa_get_number(r, 8, 1); }
static inline uint64_t csa_get_u64le(struct csa_reader *r) { return csa_get_number(r, 8, 0); }

/* --- Writing ---------------------------------------------------------------- */

/*
 * A writer puts numbers and bytes one behind another into memory of the guest's. What
 * has no room is left out, and so is all that follows: csa_written says so.
 *
 *     uint8_t answer[64];
 *     struct csa_writer w = csa_into(answer, sizeof answer);
 *
 *     csa_put_u8(&w, 200);
 *     csa_put_text(&w, "degrees: ");
 *     csa_put_decimal(&w, -12);
 */
struct csa_writer {
	uint8_t *bytes; /* the memory, which stays the guest's */
	int32_t size;   /* how many there are */
	int32_t len;    /* how many are written */
	int failed;     /* whether something had no room */
};

static inline struct csa_writer csa_into(void *bytes, int32_t size)
{
	struct csa_writer w;

	w.bytes = (uint8_t *)bytes;
	w.size = size;
	w.len = 0;
	w.failed = 0;
	return w;
}

/*
 * How many bytes are written, or QUOTA: they had no room.
 */
static inline CSA_MUST_USE int32_t csa_written(const struct csa_writer *w)
{
	return w->failed ? CSA_QUOTA : w->len;
}

static CSA_ONCE void csa_put(struct csa_writer *w, const void *bytes, int32_t len)
{
	if (len < 0 || w->failed || len > w->size - w->len) {
		w->failed = 1;
		return;
	}
	csa_copy(w->bytes + w->len, bytes, len);
	w->len += len;
}

static inline void csa_put_bytes(struct csa_writer *w, struct csa_bytes b) { csa_put(w, b.at, b.len); }

/* A text that ends with a zero byte, without that. */
static CSA_ONCE void csa_put_text(struct csa_writer *w, const char *text) { csa_put(w, text, csa_length(text)); }

/* A number of 1 to 8 bytes. */
static CSA_ONCE void csa_put_number(struct csa_writer *w, uint64_t n, int32_t size, int big)
{
	uint8_t b[8];

	for (int32_t i = 0; i < size; i++)
		b[i] = (uint8_t)(n >> 8 * (big ? size - 1 - i : i));
	csa_put(w, b, size);
}

static inline void csa_put_u8(struct csa_writer *w, uint8_t n) { csa_put_number(w, n, 1, 1); }
static inline void csa_put_u16be(struct csa_writer *w, uint16_t n) { csa_put_number(w, n, 2, 1); }
static inline void csa_put_u16le(struct csa_writer *w, uint16_t n) { csa_put_number(w, n, 2, 0); }
static inline void csa_put_u32be(struct csa_writer *w, uint32_t n) { csa_put_number(w, n, 4, 1); }
static inline void csa_put_u32le(struct csa_writer *w, uint32_t n) { csa_put_number(w, n, 4, 0); }
static inline void csa_put_u64be(struct csa_writer *w, uint64_t n) { csa_put_number(w, n, 8, 1); }
static inline void csa_put_u64le(struct csa_writer *w, uint64_t n) { csa_put_number(w, n, 8, 0); }

/* A number in decimal digits, with zeros before it until there are so many digits. */
static CSA_ONCE void csa_put_padded(struct csa_writer *w, uint64_t n, int32_t digits)
{
	uint8_t b[32];
	int32_t at = sizeof b;

	do {
		b[--at] = (uint8_t)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	while ((int32_t)sizeof b - at < digits && at > 0)
		b[--at] = '0';
	csa_put(w, b + at, (int32_t)sizeof b - at);
}

/* A number in decimal digits. */
static inline void csa_put_decimal(struct csa_writer *w, int64_t n)
{
	if (n < 0)
		csa_put(w, "-", 1);
	csa_put_padded(w, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, 1);
}

/* Bytes as hex digits, two for each. */
static inline void csa_put_hex(struct csa_writer *w, const void *bytes, int32_t len)
{
	const uint8_t *b = (const uint8_t *)bytes;

	for (int32_t i = 0; i < len; i++) {
		csa_put(w, &"0123456789abcdef"[b[i] >> 4], 1);
		csa_put(w, &"0123456789abcdef"[b[i] & 15], 1);
	}
}

#ifdef __cplusplus
}
#endif

#endif

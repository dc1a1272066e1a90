/* csa_config.h: reads the table [listener.config], which the host gives as JSON.
 *
 *     static char greeting[64] = "hello";
 *     static int64_t limit = 100;
 *     static int loud;
 *     static const struct csa_field fields[] = {
 *         CSA_TEXT_FIELD("greeting", greeting),
 *         CSA_NUMBER_FIELD("limit", limit, 1, 1000),
 *         CSA_FLAG_FIELD("loud", loud),
 *     };
 *
 *     int32_t start(void) { return csa_configure(fields, CSA_COUNT(fields)); }
 *
 * What the table has not keeps its value. A key that no field has, a value of another
 * kind and one out of range are errors, which csa_configure logs: the guest does not
 * start, and bulkhead check says why. For tables in the table, and arrays, there are
 * csa_config_text and the functions that read JSON.
 */
#ifndef CSA_CONFIG_H
#define CSA_CONFIG_H

#include "csa_memory.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How many an array has. */
#define CSA_COUNT(array) ((int32_t)(sizeof(array) / sizeof((array)[0])))

/* --- JSON ------------------------------------------------------------------- */

/* Whether a byte is white space of JSON, or between the parts of a table. */
static inline int csa_json_between(uint8_t b) { return b == ' ' || b == '\t' || b == '\n' || b == '\r' || b == ',' || b == ':'; }

/*
 * Takes the next value from the front of *rest, which is what stands in a table or an
 * array, and sets *value to its text, a string with its marks. It returns 1, 0 when
 * there is no more, or INVALID: this is no JSON. In a table keys and values take turns.
 */
static inline CSA_MUST_USE int32_t csa_json_next(struct csa_bytes *rest, struct csa_bytes *value)
{
	int32_t i = 0, start, depth = 0;

	while (i < rest->len && csa_json_between(rest->at[i]))
		i++;
	if (i == rest->len)
		return 0;
	start = i;
	do {
		uint8_t b = rest->at[i++];

		if (b == '"') {
			while (i < rest->len && rest->at[i] != '"')
				i += rest->at[i] == '\\' ? 2 : 1;
			if (i >= rest->len)
				return CSA_INVALID;
			i++;
		} else if (b == '{' || b == '[') {
			depth++;
		} else if (b == '}' || b == ']') {
			depth--;
		} else if (depth == 0) {
			while (i < rest->len && !csa_json_between(rest->at[i]) && rest->at[i] != '}' && rest->at[i] != ']')
				i++;
		}
	} while (depth > 0 && i < rest->len);
	if (depth != 0)
		return CSA_INVALID;
	value->at = rest->at + start;
	value->len = i - start;
	rest->at += i;
	rest->len -= i;
	return 1;
}

/*
 * What stands in a table or an array, for csa_json_next; empty for anything else.
 */
static inline struct csa_bytes csa_json_inside(struct csa_bytes value)
{
	struct csa_bytes inside = {0, 0};

	if (value.len >= 2 && (value.at[0] == '{' || value.at[0] == '[')) {
		inside.at = value.at + 1;
		inside.len = value.len - 2;
	}
	return inside;
}

/* The number that hex digits are; -1: they are none. */
static inline int32_t csa_json_hex(const uint8_t *at, int32_t digits)
{
	int32_t n = 0;

	for (int32_t i = 0; i < digits; i++) {
		uint8_t b = at[i];

		if (b >= '0' && b <= '9')
			n = n << 4 | (b - '0');
		else if ((b | 32) >= 'a' && (b | 32) <= 'f')
			n = n << 4 | ((b | 32) - 'a' + 10);
		else
			return -1;
	}
	return n;
}

/*
 * Writes what a string of JSON says, in UTF-8. It returns how many bytes that is;
 * INVALID: the value is no string; QUOTA: it has no room in cap bytes. Half of a pair of
 * surrogates is written as U+FFFD.
 */
static inline CSA_MUST_USE int32_t csa_json_text(struct csa_bytes value, void *to, int32_t cap)
{
	struct csa_writer w = csa_into(to, cap);

	if (value.len < 2 || value.at[0] != '"' || value.at[value.len - 1] != '"')
		return CSA_INVALID;
	for (int32_t i = 1; i < value.len - 1; i++) {
		uint8_t b = value.at[i];
		int32_t n, low;

		if (b != '\\') {
			csa_put_u8(&w, b);
			continue;
		}
		b = value.at[++i];
		if (b != 'u') {
			csa_put_u8(&w, b == 'n' ? '\n' : b == 't' ? '\t' : b == 'r' ? '\r' : b == 'b' ? '\b' : b == 'f' ? '\f' : b);
			continue;
		}
		n = value.len - 1 - i > 4 ? csa_json_hex(value.at + i + 1, 4) : -1;
		if (n < 0)
			return CSA_INVALID;
		i += 4;
		if (n >= 0xd800 && n < 0xdc00 && value.len - 1 - i > 6 && value.at[i + 1] == '\\' && value.at[i + 2] == 'u' &&
		    (low = csa_json_hex(value.at + i + 3, 4)) >= 0xdc00 && low < 0xe000) {
			n = 0x10000 + (n - 0xd800) * 0x400 + (low - 0xdc00);
			i += 6;
		} else if (n >= 0xd800 && n < 0xe000) {
			n = 0xfffd;
		}
		if (n < 0x80) {
			csa_put_u8(&w, (uint8_t)n);
			continue;
		}
		if (n < 0x800) {
			csa_put_u8(&w, (uint8_t)(0xc0 | n >> 6));
		} else {
			if (n < 0x10000) {
				csa_put_u8(&w, (uint8_t)(0xe0 | n >> 12));
			} else {
				csa_put_u8(&w, (uint8_t)(0xf0 | n >> 18));
				csa_put_u8(&w, (uint8_t)(0x80 | (n >> 12 & 63)));
			}
			csa_put_u8(&w, (uint8_t)(0x80 | (n >> 6 & 63)));
		}
		csa_put_u8(&w, (uint8_t)(0x80 | (n & 63)));
	}
	return csa_written(&w);
}

/*
 * Finds the value of a key in a table: NULL and 0 where it has none, or is no table.
 */
static inline struct csa_bytes csa_json_get(struct csa_bytes table, const char *key)
{
	struct csa_bytes rest = csa_json_inside(table), name, value, none = {0, 0};
	struct csa_bytes want = csa_text(key);

	if (table.len == 0 || table.at[0] != '{')
		return none;
	while (csa_json_next(&rest, &name) > 0 && csa_json_next(&rest, &value) > 0) {
		uint8_t said[128];
		int32_t n = csa_json_text(name, said, sizeof said), i = 0;

		while (i < n && i < want.len && said[i] == want.at[i])
			i++;
		if (n == want.len && i == n)
			return value;
	}
	return none;
}

/* --- The configuration ------------------------------------------------------ */

/*
 * The table as JSON, in memory of csa_alloc, which the guest may give back with
 * csa_free. NULL and 0 where there is no memory.
 */
static inline struct csa_bytes csa_config_text(void)
{
	struct csa_bytes text = {0, 0};
	int32_t len = csa_v1_config(0, 0);
	uint8_t *memory = (uint8_t *)csa_alloc(len);

	if (!memory)
		return text;
	csa_v1_config(memory, len);
	text.at = memory;
	text.len = len;
	return text;
}

/* What a value has to be. */
enum csa_kind { CSA_IS_TEXT, CSA_IS_NUMBER, CSA_IS_FLAG };

/* A key of the configuration, and where its value goes. */
struct csa_field {
	const char *key;
	enum csa_kind kind;
	void *to;
	int32_t cap;         /* of a text, with the zero byte at its end */
	int64_t least, most; /* of a number */
};

/* A string goes into an array of char, with a zero byte behind it. */
#define CSA_TEXT_FIELD(key, array) {key, CSA_IS_TEXT, array, (int32_t)sizeof(array), 0, 0}
/* A whole number, which least and most bound, goes into an int64_t. */
#define CSA_NUMBER_FIELD(key, number, least, most) {key, CSA_IS_NUMBER, &(number), 0, least, most}
/* true and false go into an int, as 1 and 0. */
#define CSA_FLAG_FIELD(key, flag) {key, CSA_IS_FLAG, &(flag), 0, 0, 0}

/* Says what is wrong with a key. */
static inline int32_t csa_config_wrong(struct csa_bytes key, const struct csa_field *f, const char *what)
{
	uint8_t line[400];
	struct csa_writer w = csa_into(line, sizeof line);

	csa_put_text(&w, "config: ");
	key.len = key.len > 100 ? 100 : key.len;
	csa_put_bytes(&w, key);
	csa_put_text(&w, what);
	if (f && f->kind == CSA_IS_TEXT) {
		csa_put_text(&w, "a string of at most ");
		csa_put_decimal(&w, f->cap - 1);
		csa_put_text(&w, " bytes");
	} else if (f && f->kind == CSA_IS_NUMBER) {
		csa_put_text(&w, "a whole number from ");
		csa_put_decimal(&w, f->least);
		csa_put_text(&w, " to ");
		csa_put_decimal(&w, f->most);
	} else if (f) {
		csa_put_text(&w, "true or false");
	}
	csa_v1_log(CSA_LOG_ERROR, line, w.len);
	return CSA_INVALID;
}

/* Sets one field. */
static inline int32_t csa_config_set(const struct csa_field *f, struct csa_bytes value)
{
	int64_t n;
	int32_t len;

	switch (f->kind) {
	case CSA_IS_TEXT:
		/* Tried first, so that what does not fit leaves the value from before. */
		{
			uint8_t *memory = (uint8_t *)csa_alloc(value.len);

			if (!memory)
				return CSA_QUOTA;
			len = csa_json_text(value, memory, value.len);
			if (len >= 0 && len < f->cap) {
				csa_copy(f->to, memory, len);
				((char *)f->to)[len] = 0;
			} else {
				len = CSA_INVALID;
			}
			csa_free(memory);
		}
		return len < 0 ? len : CSA_OK;
	case CSA_IS_NUMBER:
		if (csa_number(value, &n) < 0 || n < f->least || n > f->most)
			return CSA_INVALID;
		*(int64_t *)f->to = n;
		return CSA_OK;
	default:
		if (!csa_is(value, "true") && !csa_is(value, "false"))
			return CSA_INVALID;
		*(int *)f->to = value.at[0] == 't';
		return CSA_OK;
	}
}

/*
 * Reads the configuration into fields. It returns OK; INVALID when a key or a value is
 * none of theirs, which it logs, all of them; or QUOTA when there is no memory.
 */
static inline CSA_MUST_USE int32_t csa_configure(const struct csa_field *fields, int32_t count)
{
	struct csa_bytes text = csa_config_text(), rest = csa_json_inside(text), key, value;
	int32_t result = CSA_OK;

	if (!text.at)
		return CSA_QUOTA;
	while (csa_json_next(&rest, &key) > 0 && csa_json_next(&rest, &value) > 0) {
		struct csa_bytes name = {key.at + 1, key.len - 2};
		int32_t i = 0;

		while (i < count && !csa_is(name, fields[i].key))
			i++;
		if (i == count) {
			result = csa_config_wrong(key, 0, " is no key of this handler");
			continue;
		}
		if (csa_config_set(&fields[i], value) < 0)
			result = csa_config_wrong(key, &fields[i], " has to be ");
	}
	csa_free((void *)text.at);
	return result;
}

#ifdef __cplusplus
}
#endif

#endif

/* A server of RESP, Redis's protocol: commands as arrays of bulk strings, a table of keys and
 * values, answers. Each turn takes a pipeline of commands and writes all the answers. */
#include "guest.h"

enum { SLOTS = 1024, LONGEST_KEY = 31, LONGEST_VALUE = 92, MAX_WORDS = 8, COMMANDS = 64 };

struct text {
	const uint8_t *at;
	uint32_t len;
};

struct entry {
	uint8_t used;
	uint8_t keylen, vallen;
	uint8_t key[LONGEST_KEY], value[LONGEST_VALUE];
};

static struct entry table[SLOTS];
static uint8_t input[16 << 10], output[16 << 10];
static uint32_t inlen, outlen;

static void in(const char *s)
{
	while (*s && inlen < sizeof input)
		input[inlen++] = (uint8_t)*s++;
}

static void in_bulk(const char *s, uint32_t number)
{
	char digits[8];
	uint32_t len = 0, n = 0;

	while (s[len])
		len++;
	digits[7] = 0;
	do
		digits[6 - n++] = (char)('0' + number % 10);
	while ((number /= 10) && n < 6);
	len += n;
	in((char[]){'$', (char)('0' + len / 10), (char)('0' + len % 10), '\r', '\n', 0});
	in(s);
	in(digits + 7 - n);
	in("\r\n");
}

EXPORT("prepare") void prepare(void)
{
	uint32_t seed = 7;

	for (int i = 0; i < COMMANDS; i++) {
		uint32_t d = dice(&seed), key = d >> 8 & 63;

		switch (d & 7) {
		case 0:
		case 1:
			in("*3\r\n$3\r\nSET\r\n");
			in_bulk("session:", key);
			in_bulk("{\"user\":\"captain\",\"deck\":3,\"visits\":", d >> 20);
			break;
		case 2:
			in("*2\r\n$4\r\nincr\r\n");
			in_bulk("visits:", key & 7);
			break;
		case 3:
			in("*2\r\n$3\r\nDEL\r\n");
			in_bulk("session:", key);
			break;
		case 4:
			in("*1\r\n$4\r\nPING\r\n");
			break;
		case 5:
			in("*4\r\n$4\r\nMGET\r\n");
			in_bulk("session:", key);
			in_bulk("session:", key ^ 1);
			in_bulk("visits:", key & 7);
			break;
		default:
			in("*2\r\n$3\r\nGET\r\n");
			in_bulk("session:", key);
		}
	}
}

static void out(const void *p, uint32_t n)
{
	if (n > sizeof output - outlen)
		n = sizeof output - outlen;
	__builtin_memcpy(output + outlen, p, n);
	outlen += n;
}

static void out_number(uint8_t kind, int32_t v)
{
	uint8_t b[16];
	uint32_t at = sizeof b, u = v < 0 ? -(uint32_t)v : (uint32_t)v;

	b[--at] = '\n';
	b[--at] = '\r';
	do
		b[--at] = (uint8_t)('0' + u % 10);
	while (u /= 10);
	if (v < 0)
		b[--at] = '-';
	b[--at] = kind;
	out(b + at, sizeof b - at);
}

static void out_bulk(const uint8_t *p, uint32_t n)
{
	out_number('$', (int32_t)n);
	out(p, n);
	out("\r\n", 2);
}

/* number reads the digits that end with a line. It returns 0 when there are none, or too many. */
static int number(const uint8_t **p, const uint8_t *end, uint32_t *n)
{
	const uint8_t *start = *p;

	*n = 0;
	while (*p < end && **p >= '0' && **p <= '9' && *p - start < 7)
		*n = *n * 10 + *(*p)++ - '0';
	if (*p == start || end - *p < 2 || (*p)[0] != '\r' || (*p)[1] != '\n')
		return 0;
	*p += 2;
	return 1;
}

static int same(const uint8_t *a, const uint8_t *b, uint32_t n)
{
	for (; n; n--)
		if (*a++ != *b++)
			return 0;
	return 1;
}

/* is compares without regard to case; word is in lower case. */
static int is(struct text t, const char *word)
{
	uint32_t i = 0;

	for (; word[i]; i++)
		if (i == t.len || (t.at[i] | 0x20) != (uint8_t)word[i])
			return 0;
	return i == t.len;
}

/* find returns the entry of a key: the one that has it, or the one to put it in. */
static struct entry *find(struct text key)
{
	uint32_t h = 2166136261u;
	struct entry *hole = 0;

	for (uint32_t i = 0; i < key.len; i++)
		h = mix(h, key.at[i]);
	for (uint32_t i = 0; i < SLOTS; i++) {
		struct entry *e = &table[(h + i) & (SLOTS - 1)];

		if (e->used && e->keylen == key.len && same(e->key, key.at, key.len))
			return e;
		if (!e->used)
			return e->keylen && !hole ? e : hole ? hole : e;
	}
	return hole;
}

static void get(struct text key)
{
	struct entry *e = find(key);

	if (e && e->used)
		out_bulk(e->value, e->vallen);
	else
		out("$-1\r\n", 5);
}

static int set(struct text key, const uint8_t *value, uint32_t n)
{
	struct entry *e = find(key);

	if (!e || key.len > LONGEST_KEY || n > LONGEST_VALUE)
		return 0;
	e->used = 1;
	e->keylen = (uint8_t)key.len;
	e->vallen = (uint8_t)n;
	__builtin_memcpy(e->key, key.at, key.len);
	__builtin_memcpy(e->value, value, n);
	return 1;
}

static void incr(struct text key)
{
	struct entry *e = find(key);
	uint8_t digits[10];
	uint32_t n = 0, at = sizeof digits;

	if (e && e->used)
		for (uint32_t i = 0; i < e->vallen; i++)
			n = n * 10 + e->value[i] - '0';
	n = (n + 1) % 1000000;
	out_number(':', (int32_t)n);
	do
		digits[--at] = (uint8_t)('0' + n % 10);
	while (n /= 10);
	set(key, digits + at, sizeof digits - at);
}

static void act(struct text *w, uint32_t n)
{
	if (n == 2 && is(w[0], "get")) {
		get(w[1]);
	} else if (n == 3 && is(w[0], "set")) {
		if (set(w[1], w[2].at, w[2].len))
			out("+OK\r\n", 5);
		else
			out("-ERR too long\r\n", 15);
	} else if (n == 2 && is(w[0], "incr")) {
		incr(w[1]);
	} else if (n == 2 && is(w[0], "del")) {
		struct entry *e = find(w[1]);
		int was = e && e->used;

		if (was)
			e->used = 0;
		out_number(':', was);
	} else if (n > 1 && is(w[0], "mget")) {
		out_number('*', (int32_t)n - 1);
		for (uint32_t i = 1; i < n; i++)
			get(w[i]);
	} else if (n == 1 && is(w[0], "ping")) {
		out("+PONG\r\n", 7);
	} else {
		out("-ERR unknown command\r\n", 22);
	}
}

EXPORT("run") uint32_t run(uint32_t turns)
{
	uint32_t sum = 0;

	for (; turns; turns--) {
		const uint8_t *p = input, *end = input + inlen;

		outlen = 0;
		while (p < end) {
			struct text words[MAX_WORDS];
			uint32_t n;

			if (*p++ != '*' || !number(&p, end, &n) || n < 1 || n > MAX_WORDS)
				return 0;
			for (uint32_t i = 0; i < n; i++) {
				if (p == end || *p++ != '$' || !number(&p, end, &words[i].len))
					return 0;
				if ((uint32_t)(end - p) < words[i].len + 2)
					return 0;
				words[i].at = p;
				p += words[i].len + 2;
			}
			act(words, n);
		}
		sum = mix(sum, outlen);
		for (uint32_t i = 0; i < outlen; i += 64)
			sum = mix(sum, output[i]);
	}
	return sum;
}

/* Parses HTTP/1.1 requests, pipelined, as RFC 9112 has them: the request line, the fields, what
 * they say about the body. Each turn takes all the requests once. */
#include "guest.h"

static const char stream[] =
	"GET /ships/bulkhead/compartments?page=3&sort=name HTTP/1.1\r\n"
	"Host: harbour.example.org\r\n"
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
	"Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
	"Accept-Encoding: gzip, deflate, br, zstd\r\n"
	"Referer: https://harbour.example.org/ships/bulkhead\r\n"
	"Cookie: session=0b1fb0a4c9d64a7ea34c2a7f4f5a9e13; theme=dark; seen=1732296000\r\n"
	"Upgrade-Insecure-Requests: 1\r\n"
	"Sec-Fetch-Dest: document\r\n"
	"Sec-Fetch-Mode: navigate\r\n"
	"Sec-Fetch-Site: same-origin\r\n"
	"Connection: keep-alive\r\n"
	"\r\n"
	"POST /v1/readings HTTP/1.1\r\n"
	"Host: api.example.org\r\n"
	"Content-Type: application/json\r\n"
	"Authorization: Bearer c2VjcmV0IG9mIHRoZSBwdW1wIHJvb20=\r\n"
	"Content-Length: 52\r\n"
	"Expect: 100-continue\r\n"
	"\r\n"
	"{\"sensor\":\"bilge-3\",\"level\":0.173,\"at\":1732296000.5}"
	"GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8.9.1\r\nAccept: */*\r\n\r\n"
	"PUT /upload HTTP/1.1\r\n"
	"Host: files.example.org\r\n"
	"Transfer-Encoding: chunked\r\n"
	"Connection: close\r\n"
	"\r\n"
	"1a\r\nabcdefghijklmnopqrstuvwxyz\r\n5;last=yes\r\nhello\r\n0\r\n\r\n";

enum { MAX_FIELDS = 32 };

struct text {
	const uint8_t *at;
	uint32_t len;
};

struct request {
	struct text method, target;
	struct { struct text name, value; } fields[MAX_FIELDS];
	uint32_t count;
	uint32_t length;
	int chunked, close;
};

/* What a byte may be part of. */
enum { TOKEN = 1, VALUE = 2, TARGET = 4 };
static uint8_t kinds[256];

EXPORT("prepare") void prepare(void)
{
	for (int c = 0; c < 256; c++) {
		uint8_t k = 0;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
			k = TOKEN;
		for (const char *s = "!#$%&'*+-.^_`|~"; *s; s++)
			if (c == *s)
				k = TOKEN;
		if (c >= 0x20 && c != 0x7f)
			k |= VALUE;
		if (c == '\t')
			k |= VALUE;
		if (c > 0x20 && c < 0x7f)
			k |= TARGET;
		kinds[c] = k;
	}
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static int is(struct text t, const char *word)
{
	uint32_t i = 0;

	for (; word[i]; i++)
		if (i == t.len || lower(t.at[i]) != (uint8_t)word[i])
			return 0;
	return i == t.len;
}

/* take moves over bytes of a kind. */
static struct text take(const uint8_t **p, const uint8_t *end, uint8_t kind)
{
	struct text t = {*p, 0};

	while (*p < end && (kinds[**p] & kind))
		(*p)++;
	t.len = (uint32_t)(*p - t.at);
	return t;
}

static int literal(const uint8_t **p, const uint8_t *end, const char *word)
{
	for (; *word; word++, (*p)++)
		if (*p == end || **p != (uint8_t)*word)
			return 0;
	return 1;
}

/* head parses one request up to the empty line. It returns 0 for anything that is not one. */
static int head(struct request *r, const uint8_t **p, const uint8_t *end)
{
	r->count = 0;
	r->length = 0;
	r->chunked = r->close = 0;
	r->method = take(p, end, TOKEN);
	if (!r->method.len || !literal(p, end, " "))
		return 0;
	r->target = take(p, end, TARGET);
	if (!r->target.len || !literal(p, end, " HTTP/1.1\r\n"))
		return 0;
	while (*p < end && **p != '\r') {
		struct text name = take(p, end, TOKEN), value;

		if (!name.len || !literal(p, end, ":") || r->count == MAX_FIELDS)
			return 0;
		while (*p < end && (**p == ' ' || **p == '\t'))
			(*p)++;
		value = take(p, end, VALUE);
		while (value.len && (value.at[value.len - 1] == ' ' || value.at[value.len - 1] == '\t'))
			value.len--;
		if (!literal(p, end, "\r\n"))
			return 0;
		if (is(name, "content-length")) {
			if (!value.len || value.len > 9)
				return 0;
			for (uint32_t i = 0; i < value.len; i++) {
				if (value.at[i] < '0' || value.at[i] > '9')
					return 0;
				r->length = r->length * 10 + value.at[i] - '0';
			}
		} else if (is(name, "transfer-encoding")) {
			r->chunked = is(value, "chunked");
		} else if (is(name, "connection")) {
			r->close = is(value, "close");
		}
		r->fields[r->count].name = name;
		r->fields[r->count++].value = value;
	}
	return literal(p, end, "\r\n");
}

/* chunks moves over a body in chunks and adds it up. */
static int chunks(uint32_t *sum, const uint8_t **p, const uint8_t *end)
{
	for (;;) {
		uint32_t size = 0, digits = 0;

		for (; *p < end; (*p)++, digits++) {
			uint8_t c = lower(**p);

			if (c >= '0' && c <= '9')
				size = size << 4 | (c - '0');
			else if (c >= 'a' && c <= 'f')
				size = size << 4 | (c - 'a' + 10);
			else
				break;
		}
		if (!digits || digits > 6)
			return 0;
		take(p, end, VALUE);
		if (!literal(p, end, "\r\n") || (uint32_t)(end - *p) < size)
			return 0;
		*p += size;
		*sum = mix(*sum, size);
		if (!literal(p, end, "\r\n"))
			return 0;
		if (!size)
			return 1;
	}
}

EXPORT("run") uint32_t run(uint32_t turns)
{
	static struct request r;
	uint32_t sum = 0;

	for (; turns; turns--) {
		const uint8_t *p = (const uint8_t *)stream, *end = p + sizeof stream - 1;

		while (p < end) {
			if (!head(&r, &p, end))
				return 0;
			sum = mix(mix(sum, r.method.len << 16 | r.target.len), r.count << 1 | (uint32_t)r.close);
			for (uint32_t i = 0; i < r.count; i++)
				sum = mix(sum, r.fields[i].name.len << 16 | r.fields[i].value.len);
			if (r.chunked) {
				if (!chunks(&sum, &p, end))
					return 0;
			} else {
				if ((uint32_t)(end - p) < r.length)
					return 0;
				p += r.length;
			}
		}
	}
	return sum;
}

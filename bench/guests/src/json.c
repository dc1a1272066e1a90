/* JSON, RFC 8259: a parser that makes a tree, and a writer that makes text of it. Each turn parses
 * a document of 2 KiB, adds up its numbers, and writes it. */
#include "guest.h"

static const char document[] =
	"{\"ship\": {\"name\": \"Bulkhead\", \"flag\": \"\\u00c5land\", \"built\": 1998, \"length\": 143.25, \"afloat\": true},\n"
	" \"log\": \"09:00 left harbour\\n12:30 wind \\\"fresh\\\", north\\\\northeast\\t6 Bft\",\n"
	" \"compartments\": [\n"
	"  {\"id\": 1, \"name\": \"forepeak\", \"volume\": 120.5, \"doors\": [], \"flooded\": false, \"sensors\": [0.1, 0.12, 0.09]},\n"
	"  {\"id\": 2, \"name\": \"cargo hold 1\", \"volume\": 2150.75, \"doors\": [1, 3], \"flooded\": false, \"sensors\": [0.02, 0.02, 0.03]},\n"
	"  {\"id\": 3, \"name\": \"cargo hold 2\", \"volume\": 2380, \"doors\": [2, 4], \"flooded\": true, \"sensors\": [1.73, 1.75, 1.82e0]},\n"
	"  {\"id\": 4, \"name\": \"engine room\", \"volume\": 1980.125, \"doors\": [3, 5], \"flooded\": false, \"sensors\": [0.31, 0.3, -1]},\n"
	"  {\"id\": 5, \"name\": \"afterpeak\", \"volume\": 98, \"doors\": [4], \"flooded\": false, \"sensors\": null}\n"
	" ],\n"
	" \"crew\": [\n"
	"  {\"name\": \"Ada Holm\", \"rank\": \"captain\", \"email\": \"ada@harbour.example.org\", \"hours\": [8, 8, 10, 12, 8, 0, 0]},\n"
	"  {\"name\": \"Bj\\u00f6rn Eklund\", \"rank\": \"chief engineer\", \"email\": \"bjorn@harbour.example.org\", \"hours\": [10, 10, 10, 10, 10, 4, 0]},\n"
	"  {\"name\": \"Chidi Okafor\", \"rank\": \"mate\", \"email\": \"chidi@harbour.example.org\", \"hours\": [8, 12, 8, 12, 8, 8, 8]},\n"
	"  {\"name\": \"Dolores V\\u00e1zquez\", \"rank\": \"cook\", \"email\": \"dolores@harbour.example.org\", \"hours\": [12, 12, 12, 12, 12, 6, 6]}\n"
	" ],\n"
	" \"position\": {\"latitude\": 60.1675, \"longitude\": 19.942, \"fix\": 1732296000, \"quality\": {\"satellites\": 11, \"hdop\": 0.9}},\n"
	" \"cargo\": [[\"timber\", 1200, \"t\"], [\"paper\", 640.5, \"t\"], [\"machines\", 32, \"crates\"], [], {}],\n"
	" \"notes\": [\"\", \"a/b\", \"line one\\r\\nline two\", \"tab\\there\", \"control \\u0001 byte\"]\n"
	"}\n";

enum kind { NOTHING, FALSE, TRUE, NUMBER, STRING, ARRAY, OBJECT };
enum { NODES = 512, TEXT = 8 << 10, DEEPEST = 64 };

/* A value. Those of an array or object are linked; in an object the name is before each. */
struct node {
	enum kind kind;
	uint32_t len;
	struct node *first, *next;
	double number;
	const uint8_t *text, *name;
	uint32_t namelen;
};

static struct node nodes[NODES];
static uint8_t strings[TEXT], output[TEXT];
static uint32_t used, stringlen, outlen;
static const uint8_t *p, *end;

EXPORT("prepare") void prepare(void)
{
}

static void blanks(void)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
}

static int hex(uint32_t *v)
{
	*v = 0;
	if (end - p < 4)
		return 0;
	for (int i = 0; i < 4; i++) {
		uint8_t c = *p++;

		if (c >= '0' && c <= '9')
			c -= '0';
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			c = (uint8_t)((c | 32) - 'a' + 10);
		else
			return 0;
		*v = *v << 4 | c;
	}
	return 1;
}

/* string reads what is behind a quotation mark, up to and with the next. */
static int string(const uint8_t **text, uint32_t *len)
{
	uint8_t *to = strings + stringlen, *start = to, *limit = strings + TEXT - 4;
	uint32_t v;

	while (p < end && to < limit) {
		uint8_t c = *p++;

		if (c == '"') {
			*text = start;
			*len = (uint32_t)(to - start);
			stringlen += *len;
			return 1;
		}
		if (c < 0x20)
			return 0;
		if (c != '\\') {
			*to++ = c;
			continue;
		}
		if (p == end)
			return 0;
		switch (*p++) {
		case '"': *to++ = '"'; break;
		case '\\': *to++ = '\\'; break;
		case '/': *to++ = '/'; break;
		case 'b': *to++ = '\b'; break;
		case 'f': *to++ = '\f'; break;
		case 'n': *to++ = '\n'; break;
		case 'r': *to++ = '\r'; break;
		case 't': *to++ = '\t'; break;
		case 'u':
			if (!hex(&v) || (v >= 0xd800 && v < 0xe000))
				return 0;
			if (v < 0x80) {
				*to++ = (uint8_t)v;
			} else if (v < 0x800) {
				*to++ = (uint8_t)(0xc0 | v >> 6);
				*to++ = (uint8_t)(0x80 | (v & 63));
			} else {
				*to++ = (uint8_t)(0xe0 | v >> 12);
				*to++ = (uint8_t)(0x80 | (v >> 6 & 63));
				*to++ = (uint8_t)(0x80 | (v & 63));
			}
			break;
		default:
			return 0;
		}
	}
	return 0;
}

static int digits(double *v, double *scale)
{
	const uint8_t *start = p;

	while (p < end && *p >= '0' && *p <= '9') {
		*v = *v * 10 + (*p++ - '0');
		*scale *= 10;
	}
	return p > start;
}

static int number(double *v)
{
	double scale = 1;
	int negative = *p == '-';

	p += negative;
	*v = 0;
	if (p < end && *p == '0')
		p++;
	else if (!digits(v, &scale))
		return 0;
	scale = 1;
	if (p < end && *p == '.') {
		p++;
		if (!digits(v, &scale))
			return 0;
	}
	*v /= scale;
	if (p < end && (*p | 32) == 'e') {
		double power = 0, times = 1;
		int down;

		p++;
		down = p < end && *p == '-';
		p += p < end && (*p == '-' || *p == '+');
		if (!digits(&power, &times) || power > 300)
			return 0;
		for (; power > 0; power--)
			*v = down ? *v / 10 : *v * 10;
	}
	if (negative)
		*v = -*v;
	return 1;
}

static int word(const char *w)
{
	for (; *w; w++)
		if (p == end || *p++ != (uint8_t)*w)
			return 0;
	return 1;
}

static struct node *value(int depth)
{
	struct node *n = &nodes[used], **link;
	uint8_t c;

	blanks();
	if (used == NODES || depth == DEEPEST || p == end)
		return 0;
	used++;
	n->first = n->next = 0;
	switch (c = *p) {
	case '{':
	case '[':
		p++;
		n->kind = c == '{' ? OBJECT : ARRAY;
		n->len = 0;
		link = &n->first;
		blanks();
		if (p < end && *p == (uint8_t)(c + 2)) {
			p++;
			return n;
		}
		for (;;) {
			struct node *child;
			const uint8_t *name = 0;
			uint32_t namelen = 0;

			if (c == '{') {
				blanks();
				if (p == end || *p++ != '"' || !string(&name, &namelen))
					return 0;
				blanks();
				if (p == end || *p++ != ':')
					return 0;
			}
			if (!(child = value(depth + 1)))
				return 0;
			child->name = name;
			child->namelen = namelen;
			*link = child;
			link = &child->next;
			n->len++;
			blanks();
			if (p == end)
				return 0;
			if (*p == (uint8_t)(c + 2)) {
				p++;
				return n;
			}
			if (*p++ != ',')
				return 0;
		}
	case '"':
		p++;
		n->kind = STRING;
		return string(&n->text, &n->len) ? n : 0;
	case 't':
		n->kind = TRUE;
		return word("true") ? n : 0;
	case 'f':
		n->kind = FALSE;
		return word("false") ? n : 0;
	case 'n':
		n->kind = NOTHING;
		return word("null") ? n : 0;
	default:
		n->kind = NUMBER;
		return number(&n->number) ? n : 0;
	}
}

static void put(uint8_t c)
{
	if (outlen < TEXT)
		output[outlen++] = c;
}

static void puts(const char *s)
{
	while (*s)
		put((uint8_t)*s++);
}

static void put_string(const uint8_t *s, uint32_t len)
{
	put('"');
	for (; len; len--) {
		uint8_t c = *s++;

		if (c >= 0x20 && c != '"' && c != '\\') {
			put(c);
			continue;
		}
		put('\\');
		switch (c) {
		case '"':
		case '\\': put(c); break;
		case '\n': put('n'); break;
		case '\r': put('r'); break;
		case '\t': put('t'); break;
		default:
			puts("u00");
			put((uint8_t)('0' + (c >> 4)));
			put((uint8_t)"0123456789abcdef"[c & 15]);
		}
	}
	put('"');
}

static void put_number(double v)
{
	uint8_t text[32];
	uint32_t at = sizeof text;
	uint64_t whole;
	uint32_t part;
	int places = 6;

	if (v < 0) {
		put('-');
		v = -v;
	}
	whole = (uint64_t)v;
	part = (uint32_t)((v - (double)whole) * 1e6 + 0.5);
	if (part >= 1000000)
		whole++, part = 0;
	do
		text[--at] = (uint8_t)('0' + whole % 10);
	while (whole /= 10);
	while (at < sizeof text)
		put(text[at++]);
	if (!part)
		return;
	put('.');
	for (; places && part % 10 == 0; places--)
		part /= 10;
	for (at = sizeof text; places; places--, part /= 10)
		text[--at] = (uint8_t)('0' + part % 10);
	while (at < sizeof text)
		put(text[at++]);
}

static void write(const struct node *n)
{
	switch (n->kind) {
	case NOTHING: puts("null"); break;
	case FALSE: puts("false"); break;
	case TRUE: puts("true"); break;
	case NUMBER: put_number(n->number); break;
	case STRING: put_string(n->text, n->len); break;
	case ARRAY:
	case OBJECT:
		put(n->kind == ARRAY ? '[' : '{');
		for (const struct node *c = n->first; c; c = c->next) {
			if (c != n->first)
				put(',');
			if (n->kind == OBJECT) {
				put_string(c->name, c->namelen);
				put(':');
			}
			write(c);
		}
		put(n->kind == ARRAY ? ']' : '}');
	}
}

static double total(const struct node *n)
{
	double t = n->kind == NUMBER ? n->number : 0;

	for (n = n->first; n; n = n->next)
		t += total(n);
	return t;
}

EXPORT("run") uint32_t run(uint32_t turns)
{
	uint32_t sum = 0;

	for (; turns; turns--) {
		struct node *root;

		p = (const uint8_t *)document;
		end = p + sizeof document - 1;
		used = stringlen = outlen = 0;
		root = value(0);
		blanks();
		if (!root || p != end)
			return 0;
		write(root);
		sum = mix(mix(sum, (uint32_t)total(root)), outlen);
	}
	return sum;
}

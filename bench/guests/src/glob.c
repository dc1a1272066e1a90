/* Matches names against patterns with *, ?, [a-z] and {a,b}, by recursion. Each turn tries each
 * pattern on each name. */
#include "guest.h"

static const char *const patterns[] = {
	"*.wasm", "sensor/*/temperature", "sensor/[a-f]*/{temperature,humidity}", "**/bilge-?", "*a*e*i*o*u*",
	"deck[0-9][0-9]/{port,starboard}/cabin-??", "{GET,POST,PUT} /v[12]/*", "log-20[0-9][0-9]-*.{txt,txt.gz}",
};

static const char *const names[] = {
	"handler.wasm", "sensor/bow/temperature", "sensor/aft/humidity", "sensor/aft/pressure", "hull/3/bilge-7",
	"deck07/starboard/cabin-14", "deck7/port/cabin-1", "GET /v1/readings/latest", "POST /v2/readings",
	"DELETE /v2/readings", "log-2026-11-22.txt.gz", "log-1999-12-31.txt", "a very edible pineapple, mostly outdoors, unpeeled",
	"aaaaaaaaaaaaaaaaaaaaaeaaaaaaaaaaaaaaiaaaaaaaaaaao",
};

EXPORT("prepare") void prepare(void)
{
}

/* member reads the set behind [ and moves p behind its ]. */
static int member(const char **p, char c)
{
	const char *q = *p;
	int found = 0, not = *q == '!';

	q += not;
	while (*q && *q != ']') {
		if (q[1] == '-' && q[2] && q[2] != ']') {
			found |= c >= q[0] && c <= q[2];
			q += 3;
		} else {
			found |= c == *q++;
		}
	}
	*p = *q ? q + 1 : q;
	return found != not;
}

static int match(const char *p, const char *s);

/* either tries each of {a,b} with what follows it. */
static int either(const char *p, const char *s)
{
	const char *rest = p;

	while (*rest && *rest != '}')
		rest++;
	while (p < rest) {
		const char *t = s;

		while (p < rest && *p != ',' && *p == *t)
			p++, t++;
		if ((p == rest || *p == ',') && match(rest + (*rest == '}'), t))
			return 1;
		while (p < rest && *p != ',')
			p++;
		p++;
	}
	return 0;
}

static int match(const char *p, const char *s)
{
	for (;;) {
		switch (*p) {
		case 0:
			return !*s;
		case '*':
			while (*p == '*')
				p++;
			do
				if (match(p, s))
					return 1;
			while (*s++);
			return 0;
		case '?':
			if (!*s)
				return 0;
			p++;
			break;
		case '[':
			p++;
			if (!*s || !member(&p, *s))
				return 0;
			break;
		case '{':
			return either(p + 1, s);
		default:
			if (*p++ != *s)
				return 0;
		}
		s++;
	}
}

EXPORT("run") uint32_t run(uint32_t turns)
{
	uint32_t sum = 0;

	for (; turns; turns--)
		for (uint32_t i = 0; i < COUNT(patterns); i++)
			for (uint32_t k = 0; k < COUNT(names); k++)
				sum = mix(sum, (uint32_t)match(patterns[i], names[k]));
	return sum;
}

/* Base64, RFC 4648: encodes 12 KiB, decodes what came out with all its checks, and compares. */
#include "guest.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint8_t plain[12 << 10], text[16 << 10], back[12 << 10];
static uint8_t values[256];

EXPORT("prepare") void prepare(void)
{
	uint32_t seed = 99;

	for (uint32_t i = 0; i < sizeof plain; i++)
		plain[i] = (uint8_t)(dice(&seed) >> 9);
	for (int i = 0; i < 256; i++)
		values[i] = 0xff;
	for (int i = 0; i < 64; i++)
		values[(uint8_t)alphabet[i]] = (uint8_t)i;
}

static uint32_t encode(uint8_t *to, const uint8_t *p, uint32_t n)
{
	uint8_t *start = to;

	for (; n >= 3; n -= 3, p += 3) {
		uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

		*to++ = (uint8_t)alphabet[v >> 18];
		*to++ = (uint8_t)alphabet[v >> 12 & 63];
		*to++ = (uint8_t)alphabet[v >> 6 & 63];
		*to++ = (uint8_t)alphabet[v & 63];
	}
	if (n) {
		uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0);

		*to++ = (uint8_t)alphabet[v >> 18];
		*to++ = (uint8_t)alphabet[v >> 12 & 63];
		*to++ = n > 1 ? (uint8_t)alphabet[v >> 6 & 63] : '=';
		*to++ = '=';
	}
	return (uint32_t)(to - start);
}

/* decode returns how many bytes came out, or -1 for what is not base64. */
static int32_t decode(uint8_t *to, const uint8_t *p, uint32_t n)
{
	uint8_t *start = to;

	if (n & 3)
		return -1;
	for (; n; n -= 4, p += 4) {
		uint32_t a = values[p[0]], b = values[p[1]], c = values[p[2]], d = values[p[3]];
		uint32_t v = a << 18 | b << 12 | c << 6 | d;

		if ((a | b | c | d) < 64) {
			*to++ = (uint8_t)(v >> 16);
			*to++ = (uint8_t)(v >> 8);
			*to++ = (uint8_t)v;
			continue;
		}
		if (n != 4 || p[3] != '=' || (a | b) > 63)
			return -1;
		*to++ = (uint8_t)(a << 2 | b >> 4);
		if (p[2] == '=')
			continue;
		if (c > 63)
			return -1;
		*to++ = (uint8_t)(b << 4 | c >> 2);
	}
	return (int32_t)(to - start);
}

EXPORT("run") uint32_t run(uint32_t turns)
{
	uint32_t sum = 0;

	for (; turns; turns--) {
		uint32_t size = sizeof plain - turns % 3;
		uint32_t n = encode(text, plain, size);

		if (decode(back, text, n) != (int32_t)size)
			return 0;
		for (uint32_t i = 0; i < size; i++)
			if (back[i] != plain[i])
				return 0;
		sum = mix(sum, mix(n, text[n / 2]));
	}
	return sum;
}

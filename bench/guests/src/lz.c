/* A compressor of the family of LZ77: matches of four bytes and more, found through a hash table,
 * written as a token with two lengths, literals, and a distance. Each turn compresses 16 KiB of
 * prose, takes them apart again, and compares. */
#include "guest.h"

enum { SIZE = 16 << 10, HASHES = 4096, SHORTEST = 4 };

static uint8_t plain[SIZE], packed[2 * SIZE], back[SIZE];
static uint16_t places[HASHES];

EXPORT("prepare") void prepare(void)
{
	write_prose(plain, SIZE, 11);
}

static uint32_t load(const uint8_t *p)
{
	uint32_t v;

	__builtin_memcpy(&v, p, 4);
	return v;
}

/* put_length writes what a length has above the 15 that its token holds. */
static uint8_t *put_length(uint8_t *to, uint32_t n)
{
	if (n < 15)
		return to;
	for (n -= 15; n >= 255; n -= 255)
		*to++ = 255;
	*to++ = (uint8_t)n;
	return to;
}

static uint8_t *put(uint8_t *to, const uint8_t *literals, uint32_t count, uint32_t distance, uint32_t length)
{
	length -= SHORTEST;
	*to++ = (uint8_t)((count < 15 ? count : 15) << 4 | (length < 15 ? length : 15));
	to = put_length(to, count);
	for (; count; count--)
		*to++ = *literals++;
	*to++ = (uint8_t)distance;
	*to++ = (uint8_t)(distance >> 8);
	return put_length(to, length);
}

static uint32_t pack(uint8_t *to, const uint8_t *from, uint32_t size)
{
	const uint8_t *p = from, *done = from, *end = from + size;
	uint8_t *start = to;

	for (int i = 0; i < HASHES; i++)
		places[i] = 0;
	while (end - p > SHORTEST) {
		uint32_t v = load(p), h = v * 2654435761u >> 20, n;
		const uint8_t *q = from + places[h];

		places[h] = (uint16_t)(p - from);
		if (q >= p || load(q) != v) {
			p++;
			continue;
		}
		for (n = SHORTEST; p + n < end && p[n] == q[n]; n++)
			;
		to = put(to, done, (uint32_t)(p - done), (uint32_t)(p - q), n);
		done = p += n;
	}
	/* What is left goes as literals, with a distance of 0 for the end. */
	return (uint32_t)(put(to, done, (uint32_t)(end - done), 0, SHORTEST) - start);
}

static const uint8_t *get_length(const uint8_t *p, const uint8_t *end, uint32_t *n)
{
	uint8_t c = 255;

	if (*n == 15)
		while (c == 255 && p < end)
			*n += c = *p++;
	return p;
}

/* unpack returns how many bytes came out, or -1 for what pack has not written. */
static int32_t unpack(uint8_t *to, uint32_t room, const uint8_t *p, uint32_t n)
{
	const uint8_t *end = p + n;
	uint8_t *start = to, *limit = to + room;

	while (p < end) {
		uint32_t token = *p++, count = token >> 4, length = token & 15, distance;
		const uint8_t *q;

		p = get_length(p, end, &count);
		if (count > (uint32_t)(limit - to) || count > (uint32_t)(end - p))
			return -1;
		for (; count; count--)
			*to++ = *p++;
		if (end - p < 2)
			return -1;
		distance = p[0] | (uint32_t)p[1] << 8;
		p = get_length(p + 2, end, &length);
		if (!distance)
			break;
		length += SHORTEST;
		if (distance > (uint32_t)(to - start) || length > (uint32_t)(limit - to))
			return -1;
		for (q = to - distance; length; length--)
			*to++ = *q++;
	}
	return (int32_t)(to - start);
}

EXPORT("run") uint32_t run(uint32_t turns)
{
	uint32_t sum = 0;

	for (; turns; turns--) {
		uint32_t n;

		plain[turns & (SIZE - 1)] ^= 1;
		n = pack(packed, plain, SIZE);
		if (unpack(back, SIZE, packed, n) != SIZE)
			return 0;
		for (int i = 0; i < SIZE; i++)
			if (back[i] != plain[i])
				return 0;
		sum = mix(sum, n);
	}
	return sum;
}

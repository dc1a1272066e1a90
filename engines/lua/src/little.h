/* memcpy and memchr for a program that copies and searches little at a time. build.sh has every
 * file include it. */
#ifndef LITTLE_H
#define LITTLE_H

#include <stdint.h>
#include <string.h>

#define COPY_LITTLE 160 /* bytes, above which the instruction that copies is quicker */

/* That instruction takes as long as a hundred others, however few bytes it copies. */
static inline void *copy_bytes(void *to, const void *from, size_t n)
{
	char *p = to;
	const char *q = from, *last;

	if (n > COPY_LITTLE)
		return __builtin_memcpy(to, from, n);
	if (n < 8) {
		while (n-- > 0)
			*p++ = *q++;
		return to;
	}
	for (last = q + n - 8; q < last; p += 8, q += 8)
		__builtin_memcpy(p, q, 8);
	__builtin_memcpy((char *)to + n - 8, last, 8);
	return to;
}

/* Looks at eight bytes at a time. */
static inline void *find_byte(const void *from, int byte, size_t n)
{
	const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
	const unsigned char *p = from;
	uint64_t word;

	for (; n >= 8; p += 8, n -= 8) {
		__builtin_memcpy(&word, p, 8);
		word ^= (unsigned char)byte * ones;
		word = (word - ones) & ~word & high;
		if (word) /* its lowest bit is that of the first one */
			return (void *)(p + __builtin_ctzll(word) / 8);
	}
	for (; n > 0; p++, n--)
		if (*p == (unsigned char)byte)
			return (void *)p;
	return NULL;
}

#define memcpy(to, from, n) \
	(__builtin_constant_p(n) ? __builtin_memcpy(to, from, n) : copy_bytes(to, from, n))
#define memchr(from, byte, n) find_byte(from, byte, n)

#endif

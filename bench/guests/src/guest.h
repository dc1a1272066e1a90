/* What the benchmark's guests have in common. Each of them exports
 *
 *     prepare()            makes its input; called once, before all else
 *     run(turns) -> sum    does its work as often as it is told, and returns a sum over the
 *                          results, the same for the same number of turns after prepare
 */
#ifndef GUEST_H
#define GUEST_H

#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* mix adds a value to a sum over results. */
static inline uint32_t mix(uint32_t sum, uint32_t value)
{
	return (sum ^ value) * 16777619u;
}

/* dice returns the next of a series of numbers that looks random and is always the same. */
static inline uint32_t dice(uint32_t *state)
{
	uint32_t x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

/* write_prose fills a buffer with words and full stops, as compressible as prose is. */
static inline void write_prose(uint8_t *to, size_t size, uint32_t seed)
{
	static const char *const words[] = {
		"the", "of", "and", "a", "to", "in", "ship", "water", "hold", "bulkhead", "that", "it",
		"compartment", "is", "was", "with", "pump", "for", "tight", "leak", "door", "on", "sea",
		"captain", "engine", "steam", "they", "at", "be", "this", "harbour", "from",
	};
	size_t n = 0;

	while (n < size) {
		uint32_t d = dice(&seed);
		/* The first words come more often, as they do in language. */
		const char *word = words[(d & 31) & ((d >> 8 & 1) ? 31 : 7)];

		while (*word && n < size)
			to[n++] = (uint8_t)*word++;
		if ((d >> 16 & 15) == 0 && n < size)
			to[n++] = '.';
		if (n < size)
			to[n++] = (d >> 20 & 31) == 0 ? '\n' : ' ';
	}
}

#endif

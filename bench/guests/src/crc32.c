/* CRC-32 with a table, a byte at a time, and Adler-32 (RFC 1950) of the same 16 KiB: loops with as
 * little in them as real ones have. */
#include "guest.h"

static uint8_t data[16 << 10];
static uint32_t table[256];

static uint32_t crc32(const uint8_t *p, uint32_t n)
{
	uint32_t c = 0xffffffffu;

#pragma clang loop unroll(disable)
	for (; n; n--)
		c = table[(c ^ *p++) & 0xff] ^ c >> 8;
	return ~c;
}

static uint32_t adler32(const uint8_t *p, uint32_t n)
{
	uint32_t a = 1, b = 0;

	while (n) {
		uint32_t part = n < 5552 ? n : 5552;

		n -= part;
#pragma clang loop unroll(disable)
		for (; part; part--) {
			a += *p++;
			b += a;
		}
		a %= 65521;
		b %= 65521;
	}
	return b << 16 | a;
}

/* prepare makes the table, and checks what is known of nine digits. */
EXPORT("prepare") void prepare(void)
{
	static const uint8_t digits[] = "123456789";

	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
		table[i] = c;
	}
	if (crc32(digits, 9) != 0xcbf43926u || adler32(digits, 9) != 0x091e01deu)
		__builtin_trap();
	write_prose(data, sizeof data, 3);
}

EXPORT("run") uint32_t run(uint32_t turns)
{
	uint32_t sum = 0;

	for (; turns; turns--) {
		data[0]++;
		sum = mix(mix(sum, crc32(data, sizeof data)), adler32(data, sizeof data));
	}
	return sum;
}

/* Other ways to write bytes, and checksums. */
#include <stdio.h>
#include <string.h>

#include "guest.h"

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(const uint8_t *p, size_t len, char *to)
{
	size_t i, n = 0;

	for (i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);

		to[n++] = base64_digits[v >> 18];
		to[n++] = base64_digits[v >> 12 & 63];
		to[n++] = left > 1 ? base64_digits[v >> 6 & 63] : '=';
		to[n++] = left > 2 ? base64_digits[v & 63] : '=';
	}
	return n;
}

static int base64_value(uint8_t c)
{
	const char *at = c ? strchr(base64_digits, c) : NULL;

	return at ? at - base64_digits : c == '-' ? 62 : c == '_' ? 63 : -1;
}

ptrdiff_t base64_decode(const uint8_t *p, size_t len, uint8_t *to)
{
	size_t i, whole = len;
	ptrdiff_t n = 0;
	uint32_t v = 0;

	while (len > 0 && whole - len < 2 && p[len - 1] == '=')
		len--;
	for (i = 0; i < len; i++) {
		int d = base64_value(p[i]);

		if (d < 0 || len % 4 == 1) {
			snprintf(problem, sizeof problem, d < 0 ? "base64.decode: byte %d is no digit of base64" :
				"base64.decode: %d bytes cannot be base64", (int)(d < 0 ? i : len));
			return -1;
		}
		v = v << 6 | (uint32_t)d;
		if (i % 4 != 0)
			to[n++] = (uint8_t)(v >> (6 - 2 * (i % 4)));
	}
	return n;
}

void hex_encode(const uint8_t *p, size_t len, char *to)
{
	size_t i;

	for (i = 0; i < len; i++) {
		to[2 * i] = "0123456789abcdef"[p[i] >> 4];
		to[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
	}
}

static int hex_value(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

ptrdiff_t hex_decode(const uint8_t *p, size_t len, uint8_t *to)
{
	ptrdiff_t n = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		if (p[i] == ' ')
			continue;
		if (i + 1 == len || hex_value(p[i]) < 0 || hex_value(p[i + 1]) < 0) {
			snprintf(problem, sizeof problem, "hex.decode: there are no two digits at %d", (int)i);
			return -1;
		}
		to[n++] = (uint8_t)(hex_value(p[i]) << 4 | hex_value(p[i + 1]));
		i++;
	}
	return n;
}

/* The checksums, by their names in the catalogue of parametrised CRC algorithms. */
const char *const crc_names[CRCS] = {"x25", "modbus", "xmodem", "ccitt", "crc32"};

static const struct {
	uint32_t polynomial, first, last; /* reflected ones: the polynomial is, too */
	int bits;
	bool reflected;
} crcs[CRCS] = {
	{0x8408, 0xffff, 0xffff, 16, true},
	{0xa001, 0xffff, 0, 16, true},
	{0x1021, 0, 0, 16, false},
	{0x1021, 0xffff, 0, 16, false},
	{0xedb88320, 0xffffffff, 0xffffffff, 32, true},
};

uint32_t crc_of(enum crc kind, const uint8_t *p, size_t len)
{
	uint32_t v = crcs[kind].first, polynomial = crcs[kind].polynomial;
	int bits = crcs[kind].bits, bit;
	size_t i;

	for (i = 0; i < len; i++) {
		v ^= crcs[kind].reflected ? p[i] : (uint32_t)p[i] << (bits - 8);
		for (bit = 0; bit < 8; bit++)
			if (crcs[kind].reflected)
				v = v >> 1 ^ (v & 1 ? polynomial : 0);
			else
				v = v << 1 ^ (v >> (bits - 1) & 1 ? polynomial : 0);
	}
	v ^= crcs[kind].last;
	return bits == 16 ? v & 0xffff : v;
}

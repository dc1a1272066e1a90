/* Hashes, and codes that are made of them with a key (RFC 1321, FIPS 180-4, RFC 2104). */
#include <string.h>

#include "guest.h"

static uint32_t left(uint32_t v, int n) { return v << n | v >> (32 - n); }
static uint32_t right(uint32_t v, int n) { return v >> n | v << (32 - n); }
static uint64_t right64(uint64_t v, int n) { return v >> n | v << (64 - n); }

static uint32_t big(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void mix_md5(struct hash *h, const uint8_t *p)
{
	static const uint32_t sines[64] = {
		0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
		0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
		0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
		0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
		0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
		0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
		0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
		0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
	};
	static const uint8_t turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
	uint32_t a = h->state.w[0], b = h->state.w[1], c = h->state.w[2], d = h->state.w[3], f, word[16];
	int i, at;

	memcpy(word, p, sizeof word); /* WebAssembly has the least byte first, too */
	for (i = 0; i < 64; i++) {
		switch (i / 16) {
		case 0: f = (b & c) | (~b & d); at = i; break;
		case 1: f = (d & b) | (~d & c); at = (5 * i + 1) % 16; break;
		case 2: f = b ^ c ^ d; at = (3 * i + 5) % 16; break;
		default: f = c ^ (b | ~d); at = 7 * i % 16;
		}
		f += a + sines[i] + word[at];
		a = d;
		d = c;
		c = b;
		b += left(f, turns[i / 16][i % 4]);
	}
	h->state.w[0] += a;
	h->state.w[1] += b;
	h->state.w[2] += c;
	h->state.w[3] += d;
}

static void mix_sha1(struct hash *h, const uint8_t *p)
{
	uint32_t a = h->state.w[0], b = h->state.w[1], c = h->state.w[2], d = h->state.w[3], e = h->state.w[4];
	uint32_t word[80], f, k;
	int i;

	for (i = 0; i < 16; i++)
		word[i] = big(p + 4 * i);
	for (; i < 80; i++)
		word[i] = left(word[i - 3] ^ word[i - 8] ^ word[i - 14] ^ word[i - 16], 1);
	for (i = 0; i < 80; i++) {
		switch (i / 20) {
		case 0: f = (b & c) | (~b & d); k = 0x5a827999; break;
		case 1: f = b ^ c ^ d; k = 0x6ed9eba1; break;
		case 2: f = (b & c) | (b & d) | (c & d); k = 0x8f1bbcdc; break;
		default: f = b ^ c ^ d; k = 0xca62c1d6;
		}
		f += left(a, 5) + e + k + word[i];
		e = d;
		d = c;
		c = left(b, 30);
		b = a;
		a = f;
	}
	h->state.w[0] += a;
	h->state.w[1] += b;
	h->state.w[2] += c;
	h->state.w[3] += d;
	h->state.w[4] += e;
}

/* The first 64 bits of the fractions of the cube roots of the first 80 primes. SHA-256 takes
 * the upper halves of the first 64. */
static const uint64_t roots[80] = {
	0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
	0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
	0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
	0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
	0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
	0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
	0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
	0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
	0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
	0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
	0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
	0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
	0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
	0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
	0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
	0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
	0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
	0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
	0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
	0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

static void mix_sha256(struct hash *h, const uint8_t *p)
{
	uint32_t s[8], word[64], one, two;
	int i;

	for (i = 0; i < 16; i++)
		word[i] = big(p + 4 * i);
	for (; i < 64; i++)
		word[i] = word[i - 16] + word[i - 7] +
			(right(word[i - 15], 7) ^ right(word[i - 15], 18) ^ word[i - 15] >> 3) +
			(right(word[i - 2], 17) ^ right(word[i - 2], 19) ^ word[i - 2] >> 10);
	memcpy(s, h->state.w, sizeof s);
	for (i = 0; i < 64; i++) {
		one = s[7] + (right(s[4], 6) ^ right(s[4], 11) ^ right(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
			(uint32_t)(roots[i] >> 32) + word[i];
		two = (right(s[0], 2) ^ right(s[0], 13) ^ right(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof *s);
		s[4] += one;
		s[0] = one + two;
	}
	for (i = 0; i < 8; i++)
		h->state.w[i] += s[i];
}

static void mix_sha512(struct hash *h, const uint8_t *p)
{
	uint64_t s[8], word[80], one, two;
	int i;

	for (i = 0; i < 16; i++)
		word[i] = (uint64_t)big(p + 8 * i) << 32 | big(p + 8 * i + 4);
	for (; i < 80; i++)
		word[i] = word[i - 16] + word[i - 7] +
			(right64(word[i - 15], 1) ^ right64(word[i - 15], 8) ^ word[i - 15] >> 7) +
			(right64(word[i - 2], 19) ^ right64(word[i - 2], 61) ^ word[i - 2] >> 6);
	memcpy(s, h->state.q, sizeof s);
	for (i = 0; i < 80; i++) {
		one = s[7] + (right64(s[4], 14) ^ right64(s[4], 18) ^ right64(s[4], 41)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + roots[i] + word[i];
		two = (right64(s[0], 28) ^ right64(s[0], 34) ^ right64(s[0], 39)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof *s);
		s[4] += one;
		s[0] = one + two;
	}
	for (i = 0; i < 8; i++)
		h->state.q[i] += s[i];
}

const struct algorithm algorithms[ALGORITHMS] = {
	[MD5] = {"md5", mix_md5, 4, 64, 16, false, true, {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}},
	[SHA1] = {"sha1", mix_sha1, 5, 64, 20, false, false, {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}},
	[SHA256] = {"sha256", mix_sha256, 8, 64, 32, false, false,
		{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}},
	[SHA512] = {"sha512", mix_sha512, 8, 128, 64, true, false,
		{0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
		 0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179}},
};

void begin_hash(struct hash *h, const struct algorithm *a)
{
	int i;

	memset(h, 0, sizeof *h);
	h->algorithm = a;
	for (i = 0; i < a->words; i++)
		if (a->wide)
			h->state.q[i] = a->first[i];
		else
			h->state.w[i] = (uint32_t)a->first[i];
}

void add_to_hash(struct hash *h, const uint8_t *p, size_t len)
{
	size_t block = h->algorithm->block, used = h->bytes % block, n;

	h->bytes += len;
	for (; len > 0; p += n, len -= n, used = 0) {
		if (used == 0 && len >= block) {
			n = block;
			h->algorithm->mix(h, p);
			continue;
		}
		n = block - used < len ? block - used : len;
		memcpy(h->block + used, p, n);
		if (used + n == block)
			h->algorithm->mix(h, h->block);
	}
}

void end_hash(struct hash *h, uint8_t *to)
{
	const struct algorithm *a = h->algorithm;
	size_t used = h->bytes % a->block, tail = a->wide ? 16 : 8;
	uint64_t bits = h->bytes * 8;
	int i, width = a->wide ? 8 : 4;

	h->block[used++] = 0x80;
	if (used > a->block - tail) {
		memset(h->block + used, 0, a->block - used);
		a->mix(h, h->block);
		used = 0;
	}
	memset(h->block + used, 0, a->block - used);
	for (i = 0; i < 8; i++)
		h->block[a->little ? a->block - 8 + i : a->block - 1 - i] = (uint8_t)(bits >> 8 * i);
	a->mix(h, h->block);
	for (i = 0; i < a->digest; i++) {
		uint64_t word = a->wide ? h->state.q[i / width] : h->state.w[i / width];

		to[i] = (uint8_t)(word >> 8 * (a->little ? i % width : width - 1 - i % width));
	}
	h->ended = true;
}

void hash_of(const struct algorithm *a, const uint8_t *p, size_t len, uint8_t to[DIGEST_ROOM])
{
	struct hash h;

	begin_hash(&h, a);
	add_to_hash(&h, p, len);
	end_hash(&h, to);
}

void hmac_of(const struct algorithm *a, const uint8_t *key, size_t key_len, const uint8_t *p, size_t len, uint8_t to[DIGEST_ROOM])
{
	uint8_t pad[MOST_BLOCK] = {0};
	struct hash h;
	int i;

	if (key_len > a->block)
		hash_of(a, key, key_len, pad);
	else if (key_len > 0)
		memcpy(pad, key, key_len);
	for (i = 0; i < a->block; i++)
		pad[i] ^= 0x36;
	begin_hash(&h, a);
	add_to_hash(&h, pad, a->block);
	add_to_hash(&h, p, len);
	end_hash(&h, to);
	for (i = 0; i < a->block; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	begin_hash(&h, a);
	add_to_hash(&h, pad, a->block);
	add_to_hash(&h, to, a->digest);
	end_hash(&h, to);
}

const struct algorithm *find_algorithm(const char *name)
{
	int i;

	for (i = 0; i < ALGORITHMS; i++)
		if (strcmp(name, algorithms[i].name) == 0)
			return &algorithms[i];
	return NULL;
}

bool equal_bytes(const uint8_t *p, size_t len, const uint8_t *q, size_t q_len)
{
	uint8_t differ = len != q_len;
	size_t i;

	for (i = 0; len == q_len && i < len; i++)
		differ |= p[i] ^ q[i];
	return !differ;
}

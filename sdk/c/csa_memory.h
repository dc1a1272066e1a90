/* csa_memory.h: memory from the host, where there is no malloc. It goes well beside a
 * C library that has one.
 */
#ifndef CSA_MEMORY_H
#define CSA_MEMORY_H

#include "csa_bytes.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CSA_LEAST_CLASS 4 /* of blocks, as a power of two: 16 bytes, 8 of which are the library's */
#define CSA_CLASSES 28    /* so the greatest block has 1 GiB */

/* What every block begins with. */
struct csa_block {
	struct csa_block *next; /* while it is free */
	uint32_t size;          /* its class */
};

/* Blocks that are free, by class, and the page of which small ones are cut. It is one for all
 * source files. */
__attribute__((weak)) struct csa_heap {
	struct csa_block *free[CSA_CLASSES];
	uint8_t *page;
	uint32_t left; /* of the page */
} csa_heap;

/*
 * Gives len bytes of memory, which are not zeros, on a boundary of 8. The block has a power of two
 * of bytes. It returns NULL when the tenant has no memory left.
 */
static CSA_ONCE CSA_MUST_USE void *csa_alloc(int32_t len)
{
	uint32_t size = CSA_LEAST_CLASS, bytes;
	struct csa_block *b;

	if (len < 0 || len > (1 << 30) - 8)
		return 0;
	while ((1u << size) < (uint32_t)len + 8)
		size++;
	bytes = 1u << size;
	b = csa_heap.free[size - CSA_LEAST_CLASS];
	if (b) {
		csa_heap.free[size - CSA_LEAST_CLASS] = b->next;
		return (uint8_t *)b + 8;
	}
	if (bytes > csa_heap.left) {
		uint32_t pages = (bytes + 65535) >> 16;
		__SIZE_TYPE__ at = __builtin_wasm_memory_grow(0, pages);

		if (at == (__SIZE_TYPE__)-1)
			return 0;
		b = (struct csa_block *)(at << 16);
		if (bytes >= 65536) {
			b->size = size;
			return (uint8_t *)b + 8;
		}
		/* What is left of the page before is cut into blocks of its own. */
		for (uint32_t c = 15; c >= CSA_LEAST_CLASS; c--) {
			struct csa_block *rest = (struct csa_block *)csa_heap.page;

			if (csa_heap.left < 1u << c)
				continue;
			rest->size = c;
			rest->next = csa_heap.free[c - CSA_LEAST_CLASS];
			csa_heap.free[c - CSA_LEAST_CLASS] = rest;
			csa_heap.page += 1u << c;
			csa_heap.left -= 1u << c;
		}
		csa_heap.page = (uint8_t *)b;
		csa_heap.left = 65536;
	}
	b = (struct csa_block *)csa_heap.page;
	csa_heap.page += bytes;
	csa_heap.left -= bytes;
	b->size = size;
	return (uint8_t *)b + 8;
}

/*
 * Takes back what csa_alloc has given, for another csa_alloc of that size. NULL is nothing.
 */
static inline void csa_free(void *memory)
{
	struct csa_block *b = (struct csa_block *)((uint8_t *)memory - 8);

	if (!memory)
		return;
	b->next = csa_heap.free[b->size - CSA_LEAST_CLASS];
	csa_heap.free[b->size - CSA_LEAST_CLASS] = b;
}

#ifdef __cplusplus
}
#endif

#endif

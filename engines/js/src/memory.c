/* Memory for QuickJS and for the files of ours. QuickJS's own functions count no bytes where
 * EMSCRIPTEN is defined, so that cycles would hardly ever be collected. */
#include <malloc.h>
#include <stdint.h>
#include <string.h>

#include "engine.h"
#include "memory.h"

/* Here they are the C library's. */
#undef malloc
#undef realloc
#undef free

#define OVERHEAD 8 /* bytes that each piece takes besides */

/* The place for pieces that events write to. A script that starts with more than half of it has
 * the rest elsewhere; so has an event that takes more than the other half. A piece that was given
 * back is for the next one of its size. */
#define ROOM (16 << 10)
#define LARGEST 512
#define STEP 16

struct held {
	uint32_t size; /* of its bytes, which is a multiple of STEP less OVERHEAD */
	uint32_t unused;
	struct held *next; /* of those of its size that were given back; its first bytes */
};

static _Alignas(8) uint8_t place[ROOM];
static size_t used;
static enum pieces kind;
static struct held *given_back[LARGEST / STEP + 1]; /* by their sizes in steps */

void pieces_are_written(enum pieces p) { kind = p; }

static bool in_place(const void *p)
{
	return (uintptr_t)p - (uintptr_t)place < ROOM;
}

static struct held *held_of(void *p) { return (struct held *)((uint8_t *)p - OVERHEAD); }

/* A piece of the place, or NULL. */
static void *take_here(size_t size)
{
	size_t all = (size + OVERHEAD + STEP - 1) / STEP * STEP;
	struct held *p;

	if (kind == NEXT) {
		kind = RARELY;
	} else {
		if (size > LARGEST - OVERHEAD)
			return NULL;
		p = given_back[all / STEP];
		if (p) {
			given_back[all / STEP] = p->next;
			return (uint8_t *)p + OVERHEAD;
		}
	}
	if (all > (started() ? ROOM : ROOM / 2) - used)
		return NULL;
	p = (struct held *)(place + used);
	used += all;
	p->size = (uint32_t)(all - OVERHEAD);
	return (uint8_t *)p + OVERHEAD;
}

void *take(size_t size)
{
	void *p = kind == RARELY ? NULL : take_here(size);

	return p ? p : malloc(size);
}

void *take_zeros(size_t count, size_t size)
{
	size_t all;
	void *p;

	if (__builtin_mul_overflow(count, size, &all))
		return NULL;
	p = take(all);
	return p ? memset(p, 0, all) : NULL;
}

void give_back(void *p)
{
	struct held *q;
	size_t steps;

	if (!in_place(p)) {
		free(p);
		return;
	}
	q = held_of(p);
	steps = (q->size + OVERHEAD) / STEP;
	if (steps > LARGEST / STEP)
		return; /* the runtime and its context, which are for ever */
	q->next = given_back[steps];
	given_back[steps] = q;
}

static size_t usable(const void *p)
{
	if (!p)
		return 0;
	return in_place(p) ? held_of((void *)p)->size : malloc_usable_size((void *)p);
}

void *resize(void *p, size_t size)
{
	size_t before = usable(p);
	void *q;

	if (p && !in_place(p))
		return realloc(p, size);
	if (p && size <= before)
		return p;
	q = take(size);
	if (q && p) {
		memcpy(q, p, before);
		give_back(p);
	}
	return q;
}

/* --- What QuickJS calls ------------------------------------------------------------- */

static void *js_take(JSMallocState *s, size_t size)
{
	void *p = size < s->malloc_limit - s->malloc_size ? take(size) : NULL;

	if (p) {
		s->malloc_count++;
		s->malloc_size += usable(p) + OVERHEAD;
	}
	return p;
}

static void js_give_back(JSMallocState *s, void *p)
{
	if (!p)
		return;
	s->malloc_count--;
	s->malloc_size -= usable(p) + OVERHEAD;
	give_back(p);
}

static void *js_resize(JSMallocState *s, void *p, size_t size)
{
	size_t before;

	if (!p)
		return size > 0 ? js_take(s, size) : NULL;
	if (size == 0) {
		js_give_back(s, p);
		return NULL;
	}
	before = usable(p);
	if (size > before && size - before >= s->malloc_limit - s->malloc_size)
		return NULL;
	p = resize(p, size);
	if (p)
		s->malloc_size += usable(p) - before;
	return p;
}

const JSMallocFunctions memory_functions = {js_take, js_give_back, js_resize, usable};

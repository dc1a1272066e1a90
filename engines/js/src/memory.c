/* Memory for QuickJS, by the C library. QuickJS's own functions count no bytes where EMSCRIPTEN
 * is defined, so that cycles would hardly ever be collected. */
#include <malloc.h>
#include <stdlib.h>

#include "engine.h"

#define OVERHEAD 8 /* bytes that the C library has for each piece */

static size_t usable(const void *p)
{
	return malloc_usable_size((void *)p);
}

static void *get(JSMallocState *s, size_t size)
{
	void *p = size < s->malloc_limit - s->malloc_size ? malloc(size) : NULL;

	if (p) {
		s->malloc_count++;
		s->malloc_size += usable(p) + OVERHEAD;
	}
	return p;
}

static void give_back(JSMallocState *s, void *p)
{
	if (!p)
		return;
	s->malloc_count--;
	s->malloc_size -= usable(p) + OVERHEAD;
	free(p);
}

static void *resize(JSMallocState *s, void *p, size_t size)
{
	size_t before;

	if (!p)
		return size > 0 ? get(s, size) : NULL;
	if (size == 0) {
		give_back(s, p);
		return NULL;
	}
	before = usable(p);
	if (size > before && size - before >= s->malloc_limit - s->malloc_size)
		return NULL;
	p = realloc(p, size);
	if (p)
		s->malloc_size += usable(p) - before;
	return p;
}

const JSMallocFunctions memory_functions = {get, give_back, resize, usable};

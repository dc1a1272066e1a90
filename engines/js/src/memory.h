/* Memory of the engine, of which what an event writes to lies together. build.sh has every file of
 * ours include it, so that malloc and free are these. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

/* Each connection's copy of the engine gets a page of its own for each page that it writes to. So
 * pieces that events write to come from one place, and all others from the C library. */
enum pieces {
	RARELY, /* events only read what is taken now: all of it comes from the C library */
	NEXT,   /* as RARELY, but for the next piece, however large */
	OFTEN,  /* events write to what is taken now */
};
void pieces_are_written(enum pieces p);

void *take(size_t size);
void *take_zeros(size_t count, size_t size);
void *resize(void *p, size_t size);
void give_back(void *p);

#define malloc take
#define calloc take_zeros
#define realloc resize
#define free give_back

#endif

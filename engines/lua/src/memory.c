/* Where Lua's objects come from, and what becomes of the strings of an event. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#include "lgc.h"
#include "lstate.h"

/* --- Pieces ------------------------------------------------------------------------ */

/* Small objects come from lists of pieces of one size, of which Lua says the size when it gives
 * them back; larger ones come from the C library. A piece stays one of its size. */

#define STEP 16              /* bytes by which sizes differ */
#define SMALL 256            /* the largest size */
#define SIZES (SMALL / STEP) /* how many sizes there are */
#define SHEET 2048           /* bytes that are cut into pieces at a time */
#define FIRST_SHEET 8192     /* the one that events begin with */
#define BYTES_OF_STEP 64     /* allocated bytes that count as a step of note_where */

struct piece_of { struct piece_of *next; };

static struct {
	struct piece_of *free[SIZES];
	char *at, *end; /* what is left of the sheet */
	/* What was given back before the first event. Such pieces lie apart, and a connection's copy
	 * gets each page that it writes to: so they come last. */
	struct piece_of *before[SIZES];
} pieces;

static void *take_from(struct piece_of **list)
{
	struct piece_of *p = *list;

	*list = p->next;
	return p;
}

/* A piece where its list is empty. */
static void *cut(size_t k)
{
	size_t size = (k + 1) * STEP;
	char *p;

	if ((size_t)(pieces.end - pieces.at) < size) {
		if (pieces.before[k])
			return take_from(&pieces.before[k]);
		/* What is left of the sheet is a piece, too. */
		if (pieces.end > pieces.at) {
			struct piece_of *left = (struct piece_of *)pieces.at;

			k = (size_t)(pieces.end - pieces.at) / STEP - 1;
			left->next = pieces.free[k];
			pieces.free[k] = left;
		}
		pieces.at = malloc(SHEET);
		pieces.end = pieces.at ? pieces.at + SHEET : NULL;
		if (!pieces.at)
			return NULL;
	}
	p = pieces.at;
	pieces.at += size;
	return p;
}

static inline void *take(size_t size)
{
	size_t k = (size - 1) / STEP;

	return pieces.free[k] ? take_from(&pieces.free[k]) : cut(k);
}

static inline void give_back(void *p, size_t size)
{
	size_t k = (size - 1) / STEP;

	((struct piece_of *)p)->next = pieces.free[k];
	pieces.free[k] = p;
}

static void *resize(void *p, size_t old, size_t size)
{
	void *q;

	if (old > SMALL && size > SMALL)
		return realloc(p, size);
	if ((old - 1) / STEP == (size - 1) / STEP)
		return p;
	q = size <= SMALL ? take(size) : malloc(size);
	if (!q)
		return size < old ? p : NULL; /* Lua does not expect that a smaller one fails */
	memcpy(q, p, old < size ? old : size);
	if (old <= SMALL)
		give_back(p, old);
	else
		free(p);
	return q;
}

/* Is the function that Lua has for all of its memory. */
void *allocate(void *unused, void *p, size_t old, size_t size)
{
	if (size > BYTES_OF_STEP && steps_left > 0)
		steps_left -= (int)(size / BYTES_OF_STEP); /* what makes much of few steps takes long, too */
	if (!p)
		return size == 0 ? NULL : size <= SMALL ? take(size) : malloc(size);
	if (size > 0)
		return resize(p, old, size);
	if (old <= SMALL)
		give_back(p, old);
	else
		free(p);
	return NULL;
}

/* Has what events take lie together. It is called once the script is loaded. */
void events_follow(void)
{
	char *sheet = aligned_alloc(4096, FIRST_SHEET);

	if (!sheet)
		return;
	memcpy(pieces.before, pieces.free, sizeof pieces.free);
	memset(pieces.free, 0, sizeof pieces.free);
	pieces.at = sheet;
	pieces.end = sheet + FIRST_SHEET;
}

/* --- Strings of an event ------------------------------------------------------------- */

/* Most callbacks make nothing but strings, such as the line and the answer, and keep none of them.
 * Those are freed when the callback has returned, and the collector has nothing to do. Whether one
 * is kept is known, since nothing that lives longer gets a reference to a new object without one
 * of Lua's barriers, or by one of few other ways: see luaC_keeps in build.sh. */

#define DEEPEST 8 /* calls behind which nothing is freed here */

int luaC_keeps;

struct mark begin_strings(lua_State *l)
{
	luaC_keeps = 0;
	return (struct mark){G(l)->allgc, l->stack.p};
}

/* Frees what was made since m, if that is strings alone and none of them is kept. Nothing runs on l
 * any more, and its stack holds nothing. */
void free_strings(lua_State *l, struct mark m)
{
	StkId top = l->stack.p, at;
	CallInfo *ci;
	int depth = 0;

	if (luaC_keeps || G(l)->gckind != KGC_GEN || l->stack.p != m.stack)
		return;
	/* What calls have left on the stack would be marked by the collector, as registers that a later
	 * function has not set yet. Calls go no further than their top, but for what Lua itself pushes. */
	for (ci = l->base_ci.next; ci; ci = ci->next) {
		if (++depth > DEEPEST)
			return;
		if (ci->top.p > top && ci->top.p <= l->stack_last.p)
			top = ci->top.p;
	}
	for (at = l->stack.p + 1; at < top + EXTRA_STACK; at++)
		setnilvalue(s2v(at));
	luaC_freestrings(l, m.last);
}

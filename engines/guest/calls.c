/* The calls that a script's error was in, as text. */
#include <stdio.h>
#include <string.h>

#include "guest.h"

/* Appends text that has room. */
static void append(struct calls *k, const char *text, size_t length)
{
	memcpy(k->to + k->n, text, length);
	k->n += length;
}

/* Whether there is room for a text of so many bytes, and for one that ends the list. */
static bool fits(const struct calls *k, size_t length)
{
	static const char last[] = ", ... 12345678 more, and so on";

	return k->n + 2 + length + sizeof last < k->room;
}

static void append_call(struct calls *k, const char *call)
{
	size_t length = strlen(call);

	if (k->full)
		return;
	if (k->shown == MOST_CALLS || !fits(k, length)) {
		k->full = true;
		if (fits(k, 0))
			append(k, ", and so on", 11);
		return;
	}
	append(k, ", ", 2);
	append(k, call, length);
	k->shown++;
}

/* The call that was so many before the one that comes. */
static const char *before(const struct calls *k, int many)
{
	return k->last[(k->count - many) % LONGEST_ROUND];
}

/* Ends a recursion: says how many calls are left out of it. Two rounds are no recursion. */
static void end_rounds(struct calls *k)
{
	char text[32];
	int left;

	if (k->repeated == 0)
		return;
	if (k->repeated >= 2 * k->round) {
		if (!k->full && fits(k, 0))
			append(k, text, (size_t)snprintf(text, sizeof text, ", ... %d more", k->repeated));
	} else {
		for (left = k->repeated; left > 0; left--)
			append_call(k, before(k, left));
	}
	k->repeated = 0;
}

void begin_calls(struct calls *k, char *to, size_t length, size_t room)
{
	memset(k, 0, sizeof *k);
	k->to = to;
	k->n = length;
	k->room = room;
}

void add_call(struct calls *k, const char *call)
{
	char *kept = k->last[k->count % LONGEST_ROUND];
	int round;

	if (k->repeated > 0 && strcmp(call, before(k, k->round)) != 0)
		end_rounds(k);
	if (k->repeated == 0) {
		for (round = 1; round <= LONGEST_ROUND && round <= k->count; round++)
			if (strcmp(call, before(k, round)) == 0)
				break;
		k->round = round;
		k->repeated = round <= LONGEST_ROUND && round <= k->count;
	} else
		k->repeated++;
	if (k->repeated == 0)
		append_call(k, call);
	memmove(kept, call, strlen(call) + 1);
	k->count++;
}

size_t end_calls(struct calls *k)
{
	end_rounds(k);
	return k->n;
}

/* Tells where a script was written, by the table behind it: Table of the Go package sourcemap
 * says what is in there. */
#include <string.h>

#include "../../guest/guest.h"
#include "lines.h"

#define PLACE 16 /* bytes of a place in the table */

static uint32_t number(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

static uint16_t small(const char *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

const char *written_at(const char *file, int *line, int *column)
{
	const char *name, *text, *table, *end, *p;
	size_t length;
	uint32_t places, sources, low = 0, high, middle;

	if (!script(&name, &text, &length) || strcmp(file, name) != 0 || *line <= 0 || *column <= 0)
		return file;
	table = text + length + 1;
	end = name + SCRIPT_ROOM;
	if (end - table < 8)
		return file;
	places = high = number(table);
	sources = number(table + 4);
	table += 8;
	if (places == 0 || places > (size_t)(end - table) / PLACE)
		return file;
	/* Finds the last place that is not behind this one. */
	while (low < high) {
		middle = low + (high - low) / 2;
		p = table + PLACE * middle;
		if (number(p) < (uint32_t)*line ||
			(number(p) == (uint32_t)*line && small(p + 4) <= (uint32_t)*column))
			low = middle + 1;
		else
			high = middle;
	}
	p = table + PLACE * (low - 1);
	if (low == 0 || number(p) != (uint32_t)*line || small(p + 6) >= sources)
		return "esbuild"; /* what it has put between the files */
	*line = (int)number(p + 8);
	*column = (int)number(p + 12) + *column - small(p + 4);
	file = table + PLACE * places;
	for (low = small(p + 6); low > 0 && file < end; low--)
		file += strnlen(file, (size_t)(end - file)) + 1;
	return file < end && strnlen(file, (size_t)(end - file)) < (size_t)(end - file) ? file : name;
}

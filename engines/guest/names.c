/* Where a script gives a value to a name. */
#include <string.h>

#include "guest.h"

static bool in_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$';
}

/* Whether what follows the part of a line is code, and neither in quotes nor in a comment. */
static bool in_code(const char *line, const char *end, const char *comment)
{
	size_t length = strlen(comment);
	char quote = 0;

	for (; line < end; line++) {
		if (!quote && (size_t)(end - line) >= length && memcmp(line, comment, length) == 0)
			return false;
		if (*line == '\\' && quote)
			line++;
		else if (*line == quote)
			quote = 0;
		else if (!quote && (*line == '"' || *line == '\'' || *line == '`'))
			quote = *line;
	}
	return !quote;
}

bool find_name(const struct file *f, const char *name, char sign, const char *comment, int *line, int *column)
{
	const char *p = f->text, *end = p + f->length, *begin = p, *after;
	size_t length = strlen(name);
	bool found = false;
	int n = 1;

	for (; p < end; p++) {
		if (*p == '\n') {
			n++;
			begin = p + 1;
		}
		if ((size_t)(end - p) <= length || memcmp(p, name, length) != 0 || in_name(p[length]) || (p > f->text && in_name(p[-1])))
			continue;
		for (after = p + length; after < end && (*after == ' ' || *after == '\t'); after++)
			;
		if (after == end || *after != sign || (after + 1 < end && after[1] == '=') || !in_code(begin, p, comment))
			continue;
		*line = n;
		*column = (int)(p - begin) + 1;
		found = true;
	}
	return found;
}

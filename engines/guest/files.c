#include <stdlib.h>
#include <string.h>

#include "guest.h"

#define MARK "\x1b" "files\n"

static const char *files, *files_end; /* those behind the script */

bool next_file(const char **at, struct file *f)
{
	const char *line_end = memchr(*at, '\n', (size_t)(files_end - *at)), *blank;
	char *after;

	if (!line_end)
		return false;
	f->length = strtoul(*at, &after, 10);
	if (*after != ' ' || after > line_end)
		return false;
	f->name = after + 1;
	blank = memchr(f->name, ' ', (size_t)(line_end - f->name));
	if (!blank)
		return false;
	f->name_length = (size_t)(blank - f->name);
	f->path = blank + 1;
	f->path_length = (size_t)(line_end - f->path);
	f->text = line_end + 1;
	if (f->length >= (size_t)(files_end - f->text))
		return false;
	*at = f->text + f->length + 1;
	return true;
}

bool main_file(const char *name, const char *text, size_t length, struct file *f)
{
	const char *at = text + sizeof MARK - 1;

	if (length < sizeof MARK || memcmp(text, MARK, sizeof MARK - 1) != 0) {
		*f = (struct file){.path = name, .path_length = strlen(name), .text = text, .length = length};
		return true;
	}
	files_end = text + length;
	if (!next_file(&at, f))
		return false;
	files = at;
	return true;
}

const char *other_files(void) { return files; }

bool find_file(const char *name, size_t length, struct file *f)
{
	const char *at = files;

	while (at && next_file(&at, f))
		if (f->name_length == length && memcmp(f->name, name, length) == 0)
			return true;
	return false;
}

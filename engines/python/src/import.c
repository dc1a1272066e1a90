/* Imports files of the script's folder, which the host has put behind the script: see
 * ../guest/guest.h. They have their paths as names. */
#include <string.h>

#include "engine.h"

#include "py/builtin.h"
#include "py/lexer.h"

#define INIT "__init__.py"

static bool begins(const struct file *f, const char *text, size_t length)
{
	return f->name_length >= length && memcmp(f->name, text, length) == 0;
}

/* What is at a path. A folder without an __init__.py is none beside a file of the same name. */
mp_import_stat_t mp_import_stat(const char *path)
{
	size_t n = strlen(path);
	bool folder = false, package = false, module = false;
	const char *at = other_files();
	struct file f;

	while (at && next_file(&at, &f)) {
		size_t rest = f.name_length - n;

		if (!begins(&f, path, n))
			continue;
		if (rest == 0)
			return MP_IMPORT_STAT_FILE;
		if (rest == 3 && memcmp(f.name + n, ".py", 3) == 0)
			module = true;
		if (f.name[n] == '/')
			folder = true;
		if (rest == sizeof "/" INIT - 1 && memcmp(f.name + n, "/" INIT, rest) == 0)
			package = true;
	}
	return package || (folder && !module) ? MP_IMPORT_STAT_DIR : MP_IMPORT_STAT_NO_EXIST;
}

mp_lexer_t *mp_lexer_new_from_file(qstr path)
{
	struct file f;

	if (!find_file(qstr_str(path), qstr_len(path), &f))
		raise_text(&mp_type_ImportError, "there is no file %.200s in the script", qstr_str(path));
	return mp_lexer_new_from_str_len(path, f.text, f.length, 0);
}

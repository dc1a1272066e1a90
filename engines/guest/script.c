#include "guest.h"

/* Where the host puts the script before anything runs, by a data segment: see Pack of
 * the Go package engines, which finds it by its exported address. Behind the lengths are the
 * script's name and its text, with a zero byte behind each, and what the engine's language
 * may have behind that. It is volatile, since nothing here writes to it. */
__attribute__((used, visibility("default"), aligned(16))) volatile struct {
	uint32_t name_length, text_length;
	char bytes[SCRIPT_ROOM];
} bulkhead_script;

bool script(const char **name, const char **text, size_t *length)
{
	uint32_t name_length = bulkhead_script.name_length, text_length = bulkhead_script.text_length;

	if (text_length == 0 || name_length > SCRIPT_ROOM || text_length > SCRIPT_ROOM - 2 - name_length)
		return false;
	*name = (const char *)bulkhead_script.bytes;
	*text = *name + name_length + 1;
	*length = text_length;
	return true;
}

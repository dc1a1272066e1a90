/* Where functions, and the handler, were written. */
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "lines.h"

static int32_t number_of(JSValueConst f, const char *name)
{
	JSValue v = JS_GetPropertyStr(ctx, f, name);
	int32_t n = 0;

	if (JS_IsNumber(v))
		JS_ToInt32(ctx, &n, v);
	JS_FreeValue(ctx, v);
	return n;
}

bool place_of(JSValueConst f, const char *name, char *to, size_t room)
{
	JSValue v = JS_IsFunction(ctx, f) ? JS_GetPropertyStr(ctx, f, "fileName") : JS_UNDEFINED;
	const char *file = JS_IsString(v) ? JS_ToCString(ctx, v) : NULL, *written;
	int line, column;

	if (file) {
		line = number_of(f, "lineNumber");
		column = number_of(f, "columnNumber");
		written = written_at(file, &line, &column);
		snprintf(to, room, "    at %.60s (%.250s:%d:%d)\n", name, written, line, column);
		JS_FreeCString(ctx, file);
	}
	JS_FreeValue(ctx, v);
	return file != NULL;
}

/* The place of the first function in an object. */
static bool place_in(JSValueConst object, char *to, size_t room)
{
	JSPropertyEnum *properties;
	uint32_t n, i;
	bool found = false;

	if (JS_GetOwnPropertyNames(ctx, &properties, &n, object, JS_GPN_STRING_MASK) < 0) {
		JS_FreeValue(ctx, JS_GetException(ctx));
		return false;
	}
	for (i = 0; i < n && !found; i++) {
		JSValue f = JS_GetProperty(ctx, object, properties[i].atom);
		const char *name = JS_AtomToCString(ctx, properties[i].atom);

		if (JS_IsException(f))
			JS_FreeValue(ctx, JS_GetException(ctx));
		found = name && place_of(f, name, to, room);
		JS_FreeCString(ctx, name);
		JS_FreeValue(ctx, f);
	}
	for (i = 0; i < n; i++)
		JS_FreeAtom(ctx, properties[i].atom);
	js_free(ctx, properties);
	return found;
}

/* The place of the line that begins with "export default". */
static bool place_of_export(char *to, size_t room)
{
	static const char words[] = "export default";
	const char *name, *text, *p, *written;
	size_t length;
	int line = 1, column;

	if (!script(&name, &text, &length))
		return false;
	for (p = text; strncmp(p, words, sizeof words - 1) != 0; p++, line++) {
		p = memchr(p, '\n', (size_t)(text + length - p));
		if (!p)
			return false;
	}
	column = 1;
	written = written_at(name, &line, &column);
	snprintf(to, room, "    at %s (%.250s:%d:%d)\n", words, written, line, column);
	return true;
}

/* Where the script's own file gives a value to a name. */
static bool place_of_value(const char *of, char *to, size_t room)
{
	const char *name, *text, *written;
	struct file f;
	size_t length;
	int line, column;

	if (!script(&name, &text, &length) || !main_file(name, text, length, &f) ||
		(!find_name(&f, of, ':', "//", &line, &column) && !find_name(&f, of, '=', "//", &line, &column)))
		return false;
	written = written_at(name, &line, &column);
	snprintf(to, room, "    at %.60s (%.250s:%d:%d)\n", of, written, line, column);
	return true;
}

void add_place(JSValueConst object, const char *suspect)
{
	JSValue e = JS_GetException(ctx), f = JS_UNDEFINED;
	char place[400];
	bool found = false;

	if (suspect && JS_IsObject(object)) {
		f = JS_GetPropertyStr(ctx, object, suspect);
		found = place_of(f, suspect, place, sizeof place) || place_of_value(suspect, place, sizeof place);
	}
	found = found || (JS_IsObject(object) && place_in(object, place, sizeof place)) ||
		place_of_export(place, sizeof place);
	if (found && JS_IsError(ctx, e))
		JS_DefinePropertyValueStr(ctx, e, "stack", JS_NewString(ctx, place), JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
	JS_FreeValue(ctx, f);
	JS_Throw(ctx, e);
}

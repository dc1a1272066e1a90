/* The module json. MicroPython's own takes what is no JSON, and makes it of what JSON has
 * nothing for. */
#include <math.h>
#include <string.h>

#include "engine.h"

#include "py/builtin.h"
#include "py/cstack.h"
#include "py/objtuple.h"
#include "py/objtype.h"
#include "py/parsenum.h"
#include "py/stream.h"

#define MOST_DIGITS 4300 /* of a number: to read one takes time squared */

/* --- Encoding ---------------------------------------------------------------------- */

struct style {
	mp_print_t *to;
	const char *between, *colon;
};

/* What an object of a script's class is, whose class derives from one of Python's own. */
static mp_obj_t native(mp_obj_t value)
{
	static const mp_obj_type_t *const types[] = {&mp_type_dict, &mp_type_list, &mp_type_tuple, &mp_type_str, &mp_type_int, &mp_type_float};
	size_t i;

	if (mp_obj_is_instance_type(mp_obj_get_type(value)))
		for (i = 0; i < MP_ARRAY_SIZE(types); i++) {
			mp_obj_t found = mp_obj_cast_to_native_base(value, MP_OBJ_FROM_PTR(types[i]));

			if (found != MP_OBJ_NULL)
				return found;
		}
	return value;
}

static void put(const struct style *s, const char *text)
{
	mp_print_str(s->to, text);
}

/* Writes what has no parts. False: value does, or JSON has nothing for it. */
static bool encode_scalar(const struct style *s, mp_obj_t value)
{
	if (value == mp_const_none)
		put(s, "null");
	else if (mp_obj_is_bool(value))
		put(s, value == mp_const_true ? "true" : "false");
	else if (mp_obj_is_int(value))
		mp_obj_print_helper(s->to, value, PRINT_REPR);
	else if (mp_obj_is_float(value)) {
		if (!isfinite(mp_obj_float_get(value)))
			mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("json.dumps: JSON has no number %s"),
				isnan(mp_obj_float_get(value)) ? "nan" : mp_obj_float_get(value) < 0 ? "-inf" : "inf");
		mp_obj_print_helper(s->to, value, PRINT_REPR);
	} else
		return false;
	return true;
}

static void encode_text(const struct style *s, mp_obj_t text)
{
	size_t length;
	const char *p = mp_obj_str_get_data(text, &length);

	mp_str_print_json(s->to, (const byte *)p, length);
}

/* A number is a key in quotes, as in Python. */
static void encode_key(const struct style *s, mp_obj_t key)
{
	key = native(key);
	if (mp_obj_is_str(key)) {
		encode_text(s, key);
		return;
	}
	put(s, "\"");
	if (!encode_scalar(s, key))
		raise_text(&mp_type_TypeError, "json.dumps: a key is text or a number, and this one is of type %.60s", mp_obj_get_type_str(key));
	put(s, "\"");
}

/* A list, a tuple, or a namedtuple. */
static bool is_sequence(mp_obj_t value)
{
	return mp_obj_is_type(value, &mp_type_list) ||
		MP_OBJ_TYPE_GET_SLOT_OR_NULL(mp_obj_get_type(value), iter) == (const void *)mp_obj_tuple_getiter;
}

static void encode(const struct style *s, mp_obj_t value)
{
	mp_cstack_check();
	value = native(value);
	if (encode_scalar(s, value))
		return;
	if (mp_obj_is_str(value)) {
		encode_text(s, value);
	} else if (is_sequence(value)) {
		size_t i, n;
		mp_obj_t *items;

		if (mp_obj_is_type(value, &mp_type_list))
			mp_obj_list_get(value, &n, &items);
		else
			mp_obj_tuple_get(value, &n, &items);
		put(s, "[");
		for (i = 0; i < n; i++) {
			if (i > 0)
				put(s, s->between);
			encode(s, items[i]);
		}
		put(s, "]");
	} else if (mp_obj_is_dict_or_ordereddict(value)) {
		const mp_map_t *map = mp_obj_dict_get_map(value);
		bool first = true;
		size_t i;

		put(s, "{");
		for (i = 0; i < map->alloc; i++) {
			if (!mp_map_slot_is_filled(map, i))
				continue;
			if (!first)
				put(s, s->between);
			first = false;
			encode_key(s, map->table[i].key);
			put(s, s->colon);
			encode(s, map->table[i].value);
		}
		put(s, "}");
	} else
		raise_text(&mp_type_TypeError, "json.dumps: JSON has nothing for a value of type %.60s", mp_obj_get_type_str(value));
}

/* Encodes args[0] by the keyword separators, as in Python: a pair of texts. */
static void encode_with(mp_print_t *to, mp_obj_t value, size_t taken, size_t n, const mp_obj_t *args, mp_map_t *keywords)
{
	static const mp_arg_t allowed[] = {{MP_QSTR_separators, MP_ARG_KW_ONLY | MP_ARG_OBJ, {.u_rom_obj = MP_ROM_NONE}}};
	struct style s = {to, ", ", ": "};
	mp_arg_val_t separators;
	mp_obj_t *pair;

	mp_arg_parse_all(n - taken, args + taken, keywords, 1, allowed, &separators);
	if (separators.u_obj != mp_const_none) {
		mp_obj_get_array_fixed_n(separators.u_obj, 2, &pair);
		s.between = mp_obj_str_get_str(pair[0]);
		s.colon = mp_obj_str_get_str(pair[1]);
	}
	encode(&s, value);
}

static mp_obj_t json_dumps(size_t n, const mp_obj_t *args, mp_map_t *keywords)
{
	vstr_t text;
	mp_print_t to;

	vstr_init_print(&text, 64, &to);
	encode_with(&to, args[0], 1, n, args, keywords);
	return mp_obj_new_str_from_utf8_vstr(&text);
}
static MP_DEFINE_CONST_FUN_OBJ_KW(json_dumps_obj, 1, json_dumps);

static mp_obj_t json_dump(size_t n, const mp_obj_t *args, mp_map_t *keywords)
{
	mp_print_t to = {MP_OBJ_TO_PTR(args[1]), mp_stream_write_adaptor};

	mp_get_stream_raise(args[1], MP_STREAM_OP_WRITE);
	encode_with(&to, args[0], 2, n, args, keywords);
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_KW(json_dump_obj, 2, json_dump);

/* --- Decoding ---------------------------------------------------------------------- */

struct source {
	const uint8_t *begin, *p, *end;
	vstr_t text; /* of which a value is made */
};

static NORETURN void expected(const struct source *s, const char *what)
{
	if (s->p == s->end)
		raise_text(&mp_type_ValueError, "json.loads: the text ends where %s is expected", what);
	raise_text(&mp_type_ValueError, "json.loads: byte %d is not %s", (int)(s->p - s->begin) + 1, what);
}

static bool next_is(struct source *s, char c)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static void digits(struct source *s)
{
	if (s->p == s->end || *s->p < '0' || *s->p > '9')
		expected(s, "a digit");
	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
}

static mp_obj_t decode_number(struct source *s)
{
	const uint8_t *from = s->p;
	bool whole = true;

	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0')
		s->p++;
	else
		digits(s);
	if (s->p < s->end && *s->p == '.') {
		whole = false;
		s->p++;
		digits(s);
	}
	if (s->p < s->end && (*s->p | 32) == 'e') {
		whole = false;
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		digits(s);
	}
	if (s->p - from > MOST_DIGITS)
		raise_text(&mp_type_ValueError, "json.loads: the number at byte %d has more than %d digits", (int)(from - s->begin) + 1, MOST_DIGITS);
	if (whole)
		return mp_parse_num_integer((const char *)from, (size_t)(s->p - from), 10, NULL);
	return mp_parse_num_float((const char *)from, (size_t)(s->p - from), false, NULL);
}

static uint32_t four_digits(struct source *s)
{
	uint8_t b[2];

	if (s->end - s->p < 4 || memchr(s->p, ' ', 4) || hex_decode(s->p, 4, b) != 2)
		expected(s, "four hex digits");
	s->p += 4;
	return (uint32_t)b[0] << 8 | b[1];
}

static void decode_escape(struct source *s)
{
	static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
	const char *escape;
	uint32_t c;

	if (s->p == s->end)
		expected(s, "an escape");
	if (*s->p != 'u') {
		for (escape = escapes; *escape && *escape != (char)*s->p; escape += 2)
			;
		if (!*escape)
			expected(s, "an escape");
		s->p++;
		vstr_add_byte(&s->text, (byte)escape[1]);
		return;
	}
	s->p++;
	c = four_digits(s);
	if (c >= 0xd800 && c < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
		const uint8_t *before = s->p;
		uint32_t low;

		s->p += 2;
		low = four_digits(s);
		if (low >= 0xdc00 && low < 0xe000)
			c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
		else
			s->p = before;
	}
	vstr_add_char(&s->text, c >= 0xd800 && c < 0xe000 ? 0xfffd : c); /* half of a pair is none */
}

/* The text whose first quote was read. */
static mp_obj_t decode_text(struct source *s)
{
	const uint8_t *from = s->p;

	vstr_reset(&s->text);
	for (;;) {
		size_t n = s->p < s->end && *s->p >= 0x20 ? utf8_character(s->p, (size_t)(s->end - s->p)) : 0;

		if (n == 0 && s->p < s->end && *s->p >= 0x80)
			expected(s, "UTF-8");
		if (n == 0)
			expected(s, "the rest of a text, with its quote");
		if (*s->p != '"' && *s->p != '\\') {
			s->p += n;
			continue;
		}
		if (*s->p == '"' && s->text.len == 0) { /* it has no escapes */
			s->p++;
			return mp_obj_new_str((const char *)from, (size_t)(s->p - 1 - from));
		}
		vstr_add_strn(&s->text, (const char *)from, (size_t)(s->p - from));
		if (*s->p++ == '"')
			return mp_obj_new_str(s->text.buf, s->text.len);
		decode_escape(s);
		from = s->p;
	}
}

static bool word(struct source *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return false;
	s->p += n;
	return true;
}

/* The value that comes next; of an array or an object its beginning. */
static mp_obj_t decode_value(struct source *s)
{
	if (next_is(s, '"'))
		return decode_text(s);
	if (next_is(s, '['))
		return mp_obj_new_list(0, NULL);
	if (next_is(s, '{'))
		return mp_obj_new_dict(0);
	if (s->p < s->end && (*s->p == '-' || (*s->p >= '0' && *s->p <= '9')))
		return decode_number(s);
	if (word(s, "true"))
		return mp_const_true;
	if (word(s, "false"))
		return mp_const_false;
	if (word(s, "null"))
		return mp_const_none;
	expected(s, "the beginning of a value");
}

/* How deep a text goes is bounded by memory alone. */
static mp_obj_t decode(struct source *s)
{
	mp_obj_t outer = mp_obj_new_list(0, NULL), inner = MP_OBJ_NULL, whole = MP_OBJ_NULL;

	do { /* inner is the array or object that the next value is in */
		bool is_array = inner != MP_OBJ_NULL && mp_obj_is_type(inner, &mp_type_list), opens;
		mp_obj_t key = MP_OBJ_NULL, value;

		if (inner != MP_OBJ_NULL && !is_array) {
			if (!next_is(s, '"'))
				expected(s, "a key in quotes");
			key = decode_text(s);
			if (!next_is(s, ':'))
				expected(s, "a colon");
		}
		value = decode_value(s);
		if (inner == MP_OBJ_NULL)
			whole = value;
		else if (is_array)
			mp_obj_list_append(inner, value);
		else
			mp_obj_dict_store(inner, key, value);
		opens = mp_obj_is_type(value, &mp_type_list) || mp_obj_is_type(value, &mp_type_dict);
		if (opens) {
			mp_obj_list_append(outer, inner == MP_OBJ_NULL ? mp_const_none : inner);
			inner = value;
		}
		while (inner != MP_OBJ_NULL) {
			size_t n;
			mp_obj_t *items;

			is_array = mp_obj_is_type(inner, &mp_type_list);
			if (!next_is(s, is_array ? ']' : '}')) {
				if (opens || next_is(s, ','))
					break;
				expected(s, is_array ? "a comma or a bracket" : "a comma or a brace");
			}
			opens = false;
			mp_obj_list_get(outer, &n, &items);
			inner = items[n - 1] == mp_const_none ? MP_OBJ_NULL : items[n - 1];
			mp_obj_list_set_len(outer, n - 1);
		}
	} while (inner != MP_OBJ_NULL);
	next_is(s, ' ');
	if (s->p < s->end)
		expected(s, "the end");
	return whole;
}

mp_obj_t json_loads(mp_obj_t text)
{
	mp_buffer_info_t b;
	struct source s;
	mp_obj_t value;

	mp_get_buffer_raise(text, &b, MP_BUFFER_READ);
	s.begin = s.p = b.buf;
	s.end = s.begin + b.len;
	vstr_init(&s.text, 16);
	value = decode(&s);
	vstr_clear(&s.text);
	return value;
}
static MP_DEFINE_CONST_FUN_OBJ_1(json_loads_obj, json_loads);

/* The text is all that the stream's read gives. */
static mp_obj_t json_load(mp_obj_t stream)
{
	mp_obj_t read[2];

	mp_load_method(stream, MP_QSTR_read, read);
	return json_loads(mp_call_method_n_kw(0, 0, read));
}
static MP_DEFINE_CONST_FUN_OBJ_1(json_load_obj, json_load);

static const mp_rom_map_elem_t json_table[] = {
	{MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_json)},
	{MP_ROM_QSTR(MP_QSTR_dump), MP_ROM_PTR(&json_dump_obj)},
	{MP_ROM_QSTR(MP_QSTR_dumps), MP_ROM_PTR(&json_dumps_obj)},
	{MP_ROM_QSTR(MP_QSTR_load), MP_ROM_PTR(&json_load_obj)},
	{MP_ROM_QSTR(MP_QSTR_loads), MP_ROM_PTR(&json_loads_obj)},
};
static MP_DEFINE_CONST_DICT(json_members, json_table);
const mp_obj_module_t module_json = {{&mp_type_module}, (mp_obj_dict_t *)&json_members};
MP_REGISTER_MODULE(MP_QSTR_json, module_json);

/* What scripts have besides the language. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine.h"

#include "py/builtin.h"
#include "py/objmodule.h"
#include "py/objstringio.h"

/* Sets a name that every file of the script has without an import. */
void set_builtin(qstr name, mp_obj_t value)
{
	mp_store_attr(MP_OBJ_FROM_PTR(&mp_module_builtins), name, value);
}

/* How many of the len bytes at p are the first character of UTF-8; 0: none is. len is not 0. */
size_t utf8_character(const uint8_t *p, size_t len)
{
	uint32_t least, c = p[0];
	size_t k, n;

	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c < 0xe0)
		n = 2, least = 0x80, c &= 0x1f;
	else if (c >= 0xe0 && c < 0xf0)
		n = 3, least = 0x800, c &= 0x0f;
	else if (c >= 0xf0 && c < 0xf5)
		n = 4, least = 0x10000, c &= 7;
	else
		return 0;
	for (k = 1; k < n && k < len && (p[k] & 0xc0) == 0x80; k++)
		c = c << 6 | (p[k] & 0x3f);
	return k == n && c >= least && c < 0x110000 && (c < 0xd800 || c >= 0xe000) ? n : 0;
}

/* Text of UTF-8. What is none becomes U+FFFD. */
mp_obj_t text_of_bytes(const uint8_t *p, size_t len)
{
	size_t i, n, begin = 0;
	bool valid = true;
	vstr_t text;

	for (i = 0; i < len; i += n) {
		n = utf8_character(p + i, len - i);
		if (n > 0)
			continue;
		n = 1;
		if (valid) {
			valid = false;
			vstr_init(&text, len + 8);
		}
		vstr_add_strn(&text, (const char *)p + begin, i - begin);
		vstr_add_char(&text, 0xfffd);
		begin = i + 1;
	}
	if (valid)
		return mp_obj_new_str((const char *)p, len);
	vstr_add_strn(&text, (const char *)p + begin, len - begin);
	return mp_obj_new_str_from_utf8_vstr(&text);
}

/* --- Log and metrics ------------------------------------------------------------- */

struct line { char text[CSA_MAX_LOG_LINE]; size_t n; };

static void add(void *to, const char *s, size_t len)
{
	struct line *line = to;

	if (len > sizeof line->text - line->n)
		len = sizeof line->text - line->n;
	memcpy(line->text + line->n, s, len);
	line->n += len;
}

static mp_obj_t write_log(int level, size_t n, const mp_obj_t *args)
{
	struct line line;
	mp_print_t to = {&line, add};
	size_t i;

	line.n = 0;
	for (i = 0; i < n; i++) {
		if (i > 0)
			add(&line, " ", 1);
		mp_obj_print_helper(&to, args[i], PRINT_STR);
	}
	csa_v1_log(level, line.text, (int32_t)line.n);
	return mp_const_none;
}

#define LOG_FUNCTION(name, level) \
	static mp_obj_t name(size_t n, const mp_obj_t *args) { return write_log(level, n, args); } \
	static MP_DEFINE_CONST_FUN_OBJ_VAR(name##_obj, 0, name)
LOG_FUNCTION(log_debug, CSA_LOG_DEBUG);
LOG_FUNCTION(log_info, CSA_LOG_INFO);
LOG_FUNCTION(log_warn, CSA_LOG_WARN);
LOG_FUNCTION(log_error, CSA_LOG_ERROR);

static const mp_rom_map_elem_t log_table[] = {
	{MP_ROM_QSTR(MP_QSTR_debug), MP_ROM_PTR(&log_debug_obj)},
	{MP_ROM_QSTR(MP_QSTR_info), MP_ROM_PTR(&log_info_obj)},
	{MP_ROM_QSTR(MP_QSTR_warn), MP_ROM_PTR(&log_warn_obj)},
	{MP_ROM_QSTR(MP_QSTR_warning), MP_ROM_PTR(&log_warn_obj)},
	{MP_ROM_QSTR(MP_QSTR_error), MP_ROM_PTR(&log_error_obj)},
};
static MP_DEFINE_CONST_DICT(log_members, log_table);

/* log("...") is log.info("..."), and so is print. */
static mp_obj_t call_log(mp_obj_t self, size_t n, size_t keywords, const mp_obj_t *args)
{
	mp_arg_check_num(n, keywords, 0, MP_OBJ_FUN_ARGS_MAX, false);
	return write_log(CSA_LOG_INFO, n, args);
}

static void log_attribute(mp_obj_t self, qstr name, mp_obj_t *dest)
{
	mp_map_elem_t *found = mp_map_lookup((mp_map_t *)&log_members.map, MP_OBJ_NEW_QSTR(name), MP_MAP_LOOKUP);

	if (dest[0] == MP_OBJ_NULL && found)
		dest[0] = found->value;
}

static MP_DEFINE_CONST_OBJ_TYPE(log_type, MP_QSTR_log, MP_TYPE_FLAG_NONE, call, call_log, attr, log_attribute);
static const mp_obj_base_t log_object = {&log_type};

/* What print writes, until its line is over. */
static struct line printed;

void flush_print(void)
{
	if (printed.n > 0)
		csa_v1_log(CSA_LOG_INFO, printed.text, (int32_t)printed.n);
	printed.n = 0;
}

void mp_hal_stdout_tx_strn_cooked(const char *s, size_t len)
{
	while (len > 0) {
		const char *end = memchr(s, '\n', len);
		size_t n = end ? (size_t)(end - s) : len;

		add(&printed, s, n);
		if (!end)
			return;
		if (printed.n == 0)
			csa_v1_log(CSA_LOG_INFO, "", 0);
		flush_print();
		s += n + 1;
		len -= n + 1;
	}
}

/* A whole number, of 53 bits at most. */
static int64_t whole(mp_obj_t value)
{
	if (!mp_obj_is_int(value))
		raise_text(&mp_type_TypeError, "count takes a name and a whole number");
	return (int64_t)mp_obj_get_float(value);
}

static mp_obj_t py_count(size_t n, const mp_obj_t *args)
{
	size_t length;
	const char *name = mp_obj_str_get_data(args[0], &length);
	int32_t code = csa_v1_count(name, (int32_t)length, n > 1 ? whole(args[1]) : 1);

	if (code < 0)
		raise_text(&mp_type_ValueError, "count: %s", code_name(code));
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(py_count_obj, 1, 2, py_count);

/* --- Bytes ------------------------------------------------------------------------ */

/* The bytes of text, bytes, or what else has some. */
static const uint8_t *bytes_of(mp_obj_t value, size_t *length)
{
	mp_buffer_info_t b;

	mp_get_buffer_raise(value, &b, MP_BUFFER_READ);
	*length = b.len;
	return b.buf;
}

static mp_obj_t b64encode(mp_obj_t data)
{
	size_t length;
	const uint8_t *p = bytes_of(data, &length);
	vstr_t to;

	vstr_init_len(&to, BASE64_ROOM(length));
	to.len = base64_encode(p, length, to.buf);
	return mp_obj_new_bytes_from_vstr(&to);
}
static MP_DEFINE_CONST_FUN_OBJ_1(b64encode_obj, b64encode);

static mp_obj_t urlsafe_b64encode(mp_obj_t data)
{
	size_t i, length;
	const uint8_t *p = bytes_of(data, &length);
	vstr_t to;

	vstr_init_len(&to, BASE64_ROOM(length));
	to.len = base64_encode(p, length, to.buf);
	for (i = 0; i < to.len; i++)
		to.buf[i] = to.buf[i] == '+' ? '-' : to.buf[i] == '/' ? '_' : to.buf[i];
	return mp_obj_new_bytes_from_vstr(&to);
}
static MP_DEFINE_CONST_FUN_OBJ_1(urlsafe_b64encode_obj, urlsafe_b64encode);

/* It takes both alphabets. */
static mp_obj_t b64decode(mp_obj_t data)
{
	size_t length;
	const uint8_t *p = bytes_of(data, &length);
	ptrdiff_t n;
	vstr_t to;

	vstr_init_len(&to, length / 4 * 3 + 3);
	n = base64_decode(p, length, (uint8_t *)to.buf);
	if (n < 0)
		raise_text(&mp_type_ValueError, "%s", problem);
	to.len = (size_t)n;
	return mp_obj_new_bytes_from_vstr(&to);
}
static MP_DEFINE_CONST_FUN_OBJ_1(b64decode_obj, b64decode);

static const mp_rom_map_elem_t base64_table[] = {
	{MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_base64)},
	{MP_ROM_QSTR(MP_QSTR_b64encode), MP_ROM_PTR(&b64encode_obj)},
	{MP_ROM_QSTR(MP_QSTR_b64decode), MP_ROM_PTR(&b64decode_obj)},
	{MP_ROM_QSTR(MP_QSTR_urlsafe_b64encode), MP_ROM_PTR(&urlsafe_b64encode_obj)},
	{MP_ROM_QSTR(MP_QSTR_urlsafe_b64decode), MP_ROM_PTR(&b64decode_obj)},
};
static MP_DEFINE_CONST_DICT(base64_members, base64_table);
const mp_obj_module_t module_base64 = {{&mp_type_module}, (mp_obj_dict_t *)&base64_members};
MP_REGISTER_MODULE(MP_QSTR_base64, module_base64);

#define CRC_FUNCTION(name, kind) \
	static mp_obj_t name(mp_obj_t data) \
	{ \
		size_t length; \
		const uint8_t *p = bytes_of(data, &length); \
		return mp_obj_new_int_from_uint(crc_of(kind, p, length)); \
	} \
	static MP_DEFINE_CONST_FUN_OBJ_1(name##_obj, name)
CRC_FUNCTION(crc_x25, CRC_X25);
CRC_FUNCTION(crc_modbus, CRC_MODBUS);
CRC_FUNCTION(crc_xmodem, CRC_XMODEM);
CRC_FUNCTION(crc_ccitt, CRC_CCITT);
CRC_FUNCTION(crc_crc32, CRC_CRC32);

static const mp_rom_map_elem_t crc_table[] = {
	{MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_crc)},
	{MP_ROM_QSTR(MP_QSTR_x25), MP_ROM_PTR(&crc_x25_obj)},
	{MP_ROM_QSTR(MP_QSTR_modbus), MP_ROM_PTR(&crc_modbus_obj)},
	{MP_ROM_QSTR(MP_QSTR_xmodem), MP_ROM_PTR(&crc_xmodem_obj)},
	{MP_ROM_QSTR(MP_QSTR_ccitt), MP_ROM_PTR(&crc_ccitt_obj)},
	{MP_ROM_QSTR(MP_QSTR_crc32), MP_ROM_PTR(&crc_crc32_obj)},
};
static MP_DEFINE_CONST_DICT(crc_members, crc_table);
const mp_obj_module_t module_crc = {{&mp_type_module}, (mp_obj_dict_t *)&crc_members};
MP_REGISTER_MODULE(MP_QSTR_crc, module_crc);

/* --- Hashes ----------------------------------------------------------------------- */

struct hash_object {
	mp_obj_base_t base;
	bool keyed;                /* of hmac: the hash is of the inner message */
	uint8_t outer[MOST_BLOCK]; /* the key's other pad, then */
	struct hash hash;
};

static mp_obj_t hash_update(mp_obj_t self, mp_obj_t data)
{
	struct hash_object *h = MP_OBJ_TO_PTR(self);
	size_t length;
	const uint8_t *p = bytes_of(data, &length);

	add_to_hash(&h->hash, p, length);
	return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(hash_update_obj, hash_update);

/* The object goes on with what it has, as in Python. */
static size_t digest_of(mp_obj_t self, uint8_t digest[DIGEST_ROOM])
{
	struct hash_object *h = MP_OBJ_TO_PTR(self);
	const struct algorithm *a = h->hash.algorithm;
	struct hash copy = h->hash;

	end_hash(&copy, digest);
	if (h->keyed) {
		begin_hash(&copy, a);
		add_to_hash(&copy, h->outer, a->block);
		add_to_hash(&copy, digest, a->digest);
		end_hash(&copy, digest);
	}
	return a->digest;
}

static mp_obj_t hash_digest(mp_obj_t self)
{
	uint8_t digest[DIGEST_ROOM];
	size_t n = digest_of(self, digest);

	return mp_obj_new_bytes(digest, n);
}
static MP_DEFINE_CONST_FUN_OBJ_1(hash_digest_obj, hash_digest);

static mp_obj_t hash_hexdigest(mp_obj_t self)
{
	uint8_t digest[DIGEST_ROOM];
	char hex[2 * DIGEST_ROOM];
	size_t n = digest_of(self, digest);

	hex_encode(digest, n, hex);
	return mp_obj_new_str(hex, 2 * n);
}
static MP_DEFINE_CONST_FUN_OBJ_1(hash_hexdigest_obj, hash_hexdigest);

static const mp_rom_map_elem_t hash_table[] = {
	{MP_ROM_QSTR(MP_QSTR_update), MP_ROM_PTR(&hash_update_obj)},
	{MP_ROM_QSTR(MP_QSTR_digest), MP_ROM_PTR(&hash_digest_obj)},
	{MP_ROM_QSTR(MP_QSTR_hexdigest), MP_ROM_PTR(&hash_hexdigest_obj)},
};
static MP_DEFINE_CONST_DICT(hash_members, hash_table);
static MP_DEFINE_CONST_OBJ_TYPE(hash_type, MP_QSTR_hash, MP_TYPE_FLAG_NONE, locals_dict, &hash_members);

static mp_obj_t new_hash(const struct algorithm *a, size_t n, const mp_obj_t *args)
{
	struct hash_object *h = m_new_obj(struct hash_object);

	memset(h, 0, sizeof *h);
	h->base.type = &hash_type;
	begin_hash(&h->hash, a);
	if (n > 0)
		hash_update(MP_OBJ_FROM_PTR(h), args[0]);
	return MP_OBJ_FROM_PTR(h);
}

#define HASH_FUNCTION(name, which) \
	static mp_obj_t name(size_t n, const mp_obj_t *args) { return new_hash(&algorithms[which], n, args); } \
	static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(name##_obj, 0, 1, name)
HASH_FUNCTION(hash_md5, MD5);
HASH_FUNCTION(hash_sha1, SHA1);
HASH_FUNCTION(hash_sha256, SHA256);
HASH_FUNCTION(hash_sha512, SHA512);

/* An algorithm by its name, or by its function of hashlib. */
static const struct algorithm *algorithm_of(mp_obj_t name)
{
	static const mp_rom_obj_t functions[ALGORITHMS] = {
		MP_ROM_PTR(&hash_md5_obj), MP_ROM_PTR(&hash_sha1_obj), MP_ROM_PTR(&hash_sha256_obj), MP_ROM_PTR(&hash_sha512_obj),
	};
	const struct algorithm *a = mp_obj_is_str(name) ? find_algorithm(mp_obj_str_get_str(name)) : NULL;
	int i;

	for (i = 0; i < ALGORITHMS && !a; i++)
		if (name == functions[i])
			a = &algorithms[i];
	if (!a)
		raise_text(&mp_type_ValueError, "there are md5, sha1, sha256 and sha512, and no other hashes");
	return a;
}

static mp_obj_t hashlib_new(size_t n, const mp_obj_t *args)
{
	return new_hash(algorithm_of(args[0]), n - 1, args + 1);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(hashlib_new_obj, 1, 2, hashlib_new);

static const mp_rom_map_elem_t hashlib_table[] = {
	{MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_hashlib)},
	{MP_ROM_QSTR(MP_QSTR_new), MP_ROM_PTR(&hashlib_new_obj)},
	{MP_ROM_QSTR(MP_QSTR_md5), MP_ROM_PTR(&hash_md5_obj)},
	{MP_ROM_QSTR(MP_QSTR_sha1), MP_ROM_PTR(&hash_sha1_obj)},
	{MP_ROM_QSTR(MP_QSTR_sha256), MP_ROM_PTR(&hash_sha256_obj)},
	{MP_ROM_QSTR(MP_QSTR_sha512), MP_ROM_PTR(&hash_sha512_obj)},
};
static MP_DEFINE_CONST_DICT(hashlib_members, hashlib_table);
const mp_obj_module_t module_hashlib = {{&mp_type_module}, (mp_obj_dict_t *)&hashlib_members};
MP_REGISTER_MODULE(MP_QSTR_hashlib, module_hashlib);

/* hmac.new(key, message, name) */
static mp_obj_t hmac_new(mp_obj_t key, mp_obj_t message, mp_obj_t name)
{
	const struct algorithm *a = algorithm_of(name);
	struct hash_object *h = MP_OBJ_TO_PTR(new_hash(a, 0, NULL));
	uint8_t inner[MOST_BLOCK] = {0};
	size_t length;
	const uint8_t *p = bytes_of(key, &length);
	int i;

	if (length > a->block)
		hash_of(a, p, length, inner);
	else
		memcpy(inner, p, length);
	for (i = 0; i < a->block; i++) {
		h->outer[i] = inner[i] ^ 0x5c;
		inner[i] ^= 0x36;
	}
	h->keyed = true;
	add_to_hash(&h->hash, inner, a->block);
	if (message != mp_const_none)
		hash_update(MP_OBJ_FROM_PTR(h), message);
	return MP_OBJ_FROM_PTR(h);
}
static MP_DEFINE_CONST_FUN_OBJ_3(hmac_new_obj, hmac_new);

static mp_obj_t hmac_digest(mp_obj_t key, mp_obj_t message, mp_obj_t name)
{
	return hash_digest(hmac_new(key, message, name));
}
static MP_DEFINE_CONST_FUN_OBJ_3(hmac_digest_obj, hmac_digest);

static mp_obj_t compare_digest(mp_obj_t a, mp_obj_t b)
{
	size_t length, other_length;
	const uint8_t *p = bytes_of(a, &length), *q = bytes_of(b, &other_length);

	return mp_obj_new_bool(equal_bytes(p, length, q, other_length));
}
static MP_DEFINE_CONST_FUN_OBJ_2(compare_digest_obj, compare_digest);

static const mp_rom_map_elem_t hmac_table[] = {
	{MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_hmac)},
	{MP_ROM_QSTR(MP_QSTR_new), MP_ROM_PTR(&hmac_new_obj)},
	{MP_ROM_QSTR(MP_QSTR_digest), MP_ROM_PTR(&hmac_digest_obj)},
	{MP_ROM_QSTR(MP_QSTR_compare_digest), MP_ROM_PTR(&compare_digest_obj)},
};
static MP_DEFINE_CONST_DICT(hmac_members, hmac_table);
const mp_obj_module_t module_hmac = {{&mp_type_module}, (mp_obj_dict_t *)&hmac_members};
MP_REGISTER_MODULE(MP_QSTR_hmac, module_hmac);

/* --- Time and chance ----------------------------------------------------------------- */

static mp_obj_t time_time(void)
{
	return mp_obj_new_float((mp_float_t)csa_v1_clock(CSA_CLOCK_WALL) / 1e9);
}
static MP_DEFINE_CONST_FUN_OBJ_0(time_time_obj, time_time);

static mp_obj_t time_time_ns(void)
{
	return mp_obj_new_int_from_ll(csa_v1_clock(CSA_CLOCK_WALL));
}
static MP_DEFINE_CONST_FUN_OBJ_0(time_time_ns_obj, time_time_ns);

static mp_obj_t time_monotonic(void)
{
	return mp_obj_new_float((mp_float_t)csa_v1_clock(CSA_CLOCK_MONOTONIC) / 1e9);
}
static MP_DEFINE_CONST_FUN_OBJ_0(time_monotonic_obj, time_monotonic);

/* gmtime(seconds): (year, month, day, hour, minute, second, day of the week, day of the year),
 * with Monday as 0 and January the first as 1. */
static mp_obj_t time_gmtime(size_t n, const mp_obj_t *args)
{
	mp_float_t seconds = n > 0 ? mp_obj_get_float(args[0]) : (mp_float_t)csa_v1_clock(CSA_CLOCK_WALL) / 1e9;
	time_t t;
	struct tm *tm;
	int i;

	if (!(seconds > -1e11 && seconds < 1e12))
		raise_text(&mp_type_ValueError, "gmtime takes seconds since 1970, and these are beyond its years");
	t = (time_t)__builtin_floor(seconds);
	tm = gmtime(&t);
	int parts[8] = {tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec, (tm->tm_wday + 6) % 7, tm->tm_yday + 1};
	mp_obj_t items[8];
	for (i = 0; i < 8; i++)
		items[i] = MP_OBJ_NEW_SMALL_INT(parts[i]);
	return mp_obj_new_tuple(8, items);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(time_gmtime_obj, 0, 1, time_gmtime);

static mp_obj_t time_sleep(mp_obj_t seconds)
{
	raise_text(&mp_type_RuntimeError, "time.sleep would keep all others waiting; write: await sleep(ms), in an async def");
}
static MP_DEFINE_CONST_FUN_OBJ_1(time_sleep_obj, time_sleep);

static const mp_rom_map_elem_t time_table[] = {
	{MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_time)},
	{MP_ROM_QSTR(MP_QSTR_time), MP_ROM_PTR(&time_time_obj)},
	{MP_ROM_QSTR(MP_QSTR_time_ns), MP_ROM_PTR(&time_time_ns_obj)},
	{MP_ROM_QSTR(MP_QSTR_monotonic), MP_ROM_PTR(&time_monotonic_obj)},
	{MP_ROM_QSTR(MP_QSTR_gmtime), MP_ROM_PTR(&time_gmtime_obj)},
	{MP_ROM_QSTR(MP_QSTR_sleep), MP_ROM_PTR(&time_sleep_obj)},
};
static MP_DEFINE_CONST_DICT(time_members, time_table);
const mp_obj_module_t module_time = {{&mp_type_module}, (mp_obj_dict_t *)&time_members};
MP_REGISTER_MODULE(MP_QSTR_time, module_time);

static mp_obj_t random_bytes(mp_obj_t count)
{
	mp_int_t n = mp_obj_get_int(count);
	vstr_t to;

	if (n < 0 || n > WINDOW)
		raise_text(&mp_type_ValueError, "random_bytes gives 0 to %d bytes", WINDOW);
	vstr_init_len(&to, (size_t)n);
	csa_v1_random(to.buf, (int32_t)n);
	return mp_obj_new_bytes_from_vstr(&to);
}
static MP_DEFINE_CONST_FUN_OBJ_1(random_bytes_obj, random_bytes);

/* Seeds what module random draws from. */
void seed_random(void)
{
	mp_obj_t seed = mp_load_attr(MP_OBJ_FROM_PTR(&mp_module_random), MP_QSTR_seed);
	uint32_t drawn;

	csa_v1_random(&drawn, sizeof drawn);
	mp_call_function_1(seed, MP_OBJ_NEW_SMALL_INT((mp_int_t)(drawn >> 2)));
}

/* --- The rest ------------------------------------------------------------------------- */

/* The builtin that MicroPython asks for. A script's own open takes its place. */
static mp_obj_t no_open(size_t n, const mp_obj_t *args, mp_map_t *keywords)
{
	raise_text(&mp_type_OSError, "open: a guest has no files");
}
MP_DEFINE_CONST_FUN_OBJ_KW(mp_builtin_open_obj, 0, no_open);

mp_obj_t read_config(void)
{
	int32_t n = csa_v1_config(NULL, 0);
	vstr_t text;

	vstr_init_len(&text, (size_t)n);
	csa_v1_config(text.buf, n);
	return json_loads(mp_obj_new_str_from_utf8_vstr(&text));
}

void define_library(void)
{
	set_builtin(MP_QSTR_log, MP_OBJ_FROM_PTR(&log_object));
	set_builtin(MP_QSTR_count, MP_OBJ_FROM_PTR(&py_count_obj));
	set_builtin(MP_QSTR_random_bytes, MP_OBJ_FROM_PTR(&random_bytes_obj));
}

/* Bytes and text, and what is computed of them. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

JSValue new_bytes(const void *p, size_t len)
{
	JSValue args[3] = {JS_NewArrayBufferCopy(ctx, p, len), JS_UNDEFINED, JS_UNDEFINED};
	JSValue made;

	if (JS_IsException(args[0]))
		return JS_EXCEPTION;
	made = JS_NewTypedArray(ctx, 3, args, JS_TYPED_ARRAY_UINT8); /* reads three, always */
	JS_FreeValue(ctx, args[0]);
	return made;
}

bool take_bytes(JSValueConst v, struct bytes *b, const char *what)
{
	size_t offset = 0, whole;

	b->text = NULL;
	b->buffer = JS_UNDEFINED;
	if (JS_IsString(v)) {
		b->text = JS_ToCStringLen(ctx, &b->len, v);
		b->p = (const uint8_t *)b->text;
		return b->text != NULL;
	}
	if (JS_IsObject(v)) {
		size_t unit;

		b->p = JS_GetArrayBuffer(ctx, &b->len, v);
		if (b->p) {
			b->buffer = JS_DupValue(ctx, v);
			return true;
		}
		JS_FreeValue(ctx, JS_GetException(ctx)); /* it is none, and may be an array */
		b->buffer = JS_GetTypedArrayBuffer(ctx, v, &offset, &b->len, &unit);
		if (!JS_IsException(b->buffer)) {
			b->p = JS_GetArrayBuffer(ctx, &whole, b->buffer);
			if (b->p) {
				b->p += offset;
				return true;
			}
			JS_FreeValue(ctx, b->buffer);
		}
		JS_FreeValue(ctx, JS_GetException(ctx));
		b->buffer = JS_UNDEFINED;
	}
	JS_ThrowTypeError(ctx, "%s takes text, a Uint8Array or an ArrayBuffer, and was given %s; "
		"JSON.stringify or String make text of it", what,
		JS_IsUndefined(v) ? "undefined" : JS_IsNull(v) ? "null" : JS_IsNumber(v) ? "a number" :
		JS_IsFunction(ctx, v) ? "a function" : JS_IsBool(v) ? "a boolean" : "an object");
	return false;
}

void release_bytes(struct bytes *b)
{
	if (b->text)
		JS_FreeCString(ctx, b->text);
	JS_FreeValue(ctx, b->buffer);
}

static JSValue to_bytes(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct bytes b;
	JSValue made;

	if (!take_bytes(argv[0], &b, "bytes"))
		return JS_EXCEPTION;
	made = new_bytes(b.p, b.len);
	release_bytes(&b);
	return made;
}

static JSValue to_text(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct bytes b;
	JSValue made;

	if (!take_bytes(argv[0], &b, "text"))
		return JS_EXCEPTION;
	made = JS_NewStringLen(x, (const char *)b.p, b.len);
	release_bytes(&b);
	return made;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static JSValue base64_encode(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct bytes b;
	JSValue made;
	char *out;
	size_t i, n = 0;

	if (!take_bytes(argv[0], &b, "base64.encode"))
		return JS_EXCEPTION;
	out = js_malloc(x, (b.len + 2) / 3 * 4 + 1);
	if (!out) {
		release_bytes(&b);
		return JS_EXCEPTION;
	}
	for (i = 0; i < b.len; i += 3) {
		size_t left = b.len - i;
		uint32_t v = (uint32_t)b.p[i] << 16 | (left > 1 ? b.p[i + 1] << 8 : 0) | (left > 2 ? b.p[i + 2] : 0);

		out[n++] = base64_digits[v >> 18];
		out[n++] = base64_digits[v >> 12 & 63];
		out[n++] = left > 1 ? base64_digits[v >> 6 & 63] : '=';
		out[n++] = left > 2 ? base64_digits[v & 63] : '=';
	}
	made = JS_NewStringLen(x, out, n);
	js_free(x, out);
	release_bytes(&b);
	return made;
}

static int base64_value(uint8_t c)
{
	const char *at = c ? strchr(base64_digits, c) : NULL;

	return at ? at - base64_digits : c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Takes both alphabets, with "=" at the end or without; nothing else. */
static JSValue base64_decode(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct bytes b;
	JSValue made = JS_EXCEPTION;
	uint8_t *out;
	size_t i, n = 0, len;
	uint32_t v = 0;

	if (!take_bytes(argv[0], &b, "base64.decode"))
		return JS_EXCEPTION;
	for (len = b.len; len > 0 && b.len - len < 2 && b.p[len - 1] == '='; len--)
		;
	out = js_malloc(x, len / 4 * 3 + 4);
	if (!out)
		goto out;
	for (i = 0; i < len; i++) {
		int d = base64_value(b.p[i]);

		if (d < 0 || len % 4 == 1) {
			JS_ThrowTypeError(x, d < 0 ? "base64.decode: byte %d is no digit of base64" :
				"base64.decode: %d bytes cannot be base64", (int)(d < 0 ? i : len));
			goto out;
		}
		v = v << 6 | d;
		if (i % 4 != 0)
			out[n++] = v >> (6 - 2 * (i % 4));
	}
	made = new_bytes(out, n);
out:
	js_free(x, out);
	release_bytes(&b);
	return made;
}

static JSValue hex_encode(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct bytes b;
	JSValue made;
	char *out;
	size_t i;

	if (!take_bytes(argv[0], &b, "hex.encode"))
		return JS_EXCEPTION;
	out = js_malloc(x, 2 * b.len + 1);
	if (!out) {
		release_bytes(&b);
		return JS_EXCEPTION;
	}
	for (i = 0; i < b.len; i++) {
		out[2 * i] = "0123456789abcdef"[b.p[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[b.p[i] & 15];
	}
	made = JS_NewStringLen(x, out, 2 * b.len);
	js_free(x, out);
	release_bytes(&b);
	return made;
}

static int hex_value(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* Takes digits of both cases, and blanks between bytes. */
static JSValue hex_decode(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct bytes b;
	JSValue made = JS_EXCEPTION;
	uint8_t *out;
	size_t i, n = 0;

	if (!take_bytes(argv[0], &b, "hex.decode"))
		return JS_EXCEPTION;
	out = js_malloc(x, b.len / 2 + 1);
	if (!out)
		goto out;
	for (i = 0; i < b.len; i++) {
		if (b.p[i] == ' ')
			continue;
		if (i + 1 == b.len || hex_value(b.p[i]) < 0 || hex_value(b.p[i + 1]) < 0) {
			JS_ThrowTypeError(x, "hex.decode: there are no two digits at %d", (int)i);
			goto out;
		}
		out[n++] = hex_value(b.p[i]) << 4 | hex_value(b.p[i + 1]);
		i++;
	}
	made = new_bytes(out, n);
out:
	js_free(x, out);
	release_bytes(&b);
	return made;
}

/* The checksums, by their names in the catalogue of parametrised CRC algorithms. */
static const struct crc {
	const char *name;
	uint32_t polynomial, first, last; /* reflected ones: the polynomial is, too */
	int bits;
	bool reflected;
} crcs[] = {
	{"crc.x25", 0x8408, 0xffff, 0xffff, 16, true},
	{"crc.modbus", 0xa001, 0xffff, 0, 16, true},
	{"crc.xmodem", 0x1021, 0, 0, 16, false},
	{"crc.ccitt", 0x1021, 0xffff, 0, 16, false},
	{"crc.crc32", 0xedb88320, 0xffffffff, 0xffffffff, 32, true},
};

static JSValue crc_of(JSContext *x, JSValueConst self, int argc, JSValueConst *argv, int magic)
{
	const struct crc *k = &crcs[magic];
	struct bytes b;
	uint32_t v = k->first;
	size_t i;
	int bit;

	if (!take_bytes(argv[0], &b, k->name))
		return JS_EXCEPTION;
	for (i = 0; i < b.len; i++) {
		v ^= k->reflected ? b.p[i] : (uint32_t)b.p[i] << (k->bits - 8);
		for (bit = 0; bit < 8; bit++)
			if (k->reflected)
				v = v >> 1 ^ (v & 1 ? k->polynomial : 0);
			else
				v = v << 1 ^ (v >> (k->bits - 1) & 1 ? k->polynomial : 0);
	}
	release_bytes(&b);
	v ^= k->last;
	return JS_NewUint32(x, k->bits == 16 ? v & 0xffff : v);
}

static JSValue random_bytes(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	int32_t n;
	uint8_t *p;
	JSValue made;

	if (JS_ToInt32(x, &n, argv[0]))
		return JS_EXCEPTION;
	if (n < 0 || n > WINDOW)
		return JS_ThrowRangeError(x, "randomBytes gives 0 to %d bytes", WINDOW);
	p = js_malloc(x, n + 1);
	if (!p)
		return JS_EXCEPTION;
	csa_v1_random(p, n);
	made = new_bytes(p, n);
	js_free(x, p);
	return made;
}

static const JSCFunctionListEntry base64_functions[] = {
	JS_CFUNC_DEF("encode", 1, base64_encode),
	JS_CFUNC_DEF("decode", 1, base64_decode),
};
static const JSCFunctionListEntry hex_functions[] = {
	JS_CFUNC_DEF("encode", 1, hex_encode),
	JS_CFUNC_DEF("decode", 1, hex_decode),
};
static const JSCFunctionListEntry crc_functions[] = {
	JS_CFUNC_MAGIC_DEF("x25", 1, crc_of, 0),
	JS_CFUNC_MAGIC_DEF("modbus", 1, crc_of, 1),
	JS_CFUNC_MAGIC_DEF("xmodem", 1, crc_of, 2),
	JS_CFUNC_MAGIC_DEF("ccitt", 1, crc_of, 3),
	JS_CFUNC_MAGIC_DEF("crc32", 1, crc_of, 4),
};
static const JSCFunctionListEntry byte_functions[] = {
	JS_CFUNC_DEF("bytes", 1, to_bytes),
	JS_CFUNC_DEF("text", 1, to_text),
	JS_CFUNC_DEF("randomBytes", 1, random_bytes),
	JS_OBJECT_DEF("base64", base64_functions, 2, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE),
	JS_OBJECT_DEF("hex", hex_functions, 2, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE),
	JS_OBJECT_DEF("crc", crc_functions, 5, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE),
};

void define_bytes(JSValueConst global)
{
	JS_SetPropertyFunctionList(ctx, global, byte_functions, sizeof byte_functions / sizeof *byte_functions);
}

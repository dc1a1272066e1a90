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

static JSValue js_base64_encode(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct bytes b;
	JSValue made;
	char *out;

	if (!take_bytes(argv[0], &b, "base64.encode"))
		return JS_EXCEPTION;
	out = js_malloc(x, BASE64_ROOM(b.len) + 1);
	made = out ? JS_NewStringLen(x, out, base64_encode(b.p, b.len, out)) : JS_EXCEPTION;
	js_free(x, out);
	release_bytes(&b);
	return made;
}

/* Decodes the bytes of v, which are text. */
static JSValue decoded(JSContext *x, JSValueConst v, const char *what, ptrdiff_t (*decode)(const uint8_t *, size_t, uint8_t *))
{
	struct bytes b;
	JSValue made = JS_EXCEPTION;
	uint8_t *out;
	ptrdiff_t n;

	if (!take_bytes(v, &b, what))
		return JS_EXCEPTION;
	out = js_malloc(x, b.len + 3); /* more than either takes */
	if (out) {
		n = decode(b.p, b.len, out);
		made = n < 0 ? JS_ThrowTypeError(x, "%s", problem) : new_bytes(out, (size_t)n);
	}
	js_free(x, out);
	release_bytes(&b);
	return made;
}

static JSValue js_base64_decode(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	return decoded(x, argv[0], "base64.decode", base64_decode);
}

static JSValue js_hex_encode(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct bytes b;
	JSValue made = JS_EXCEPTION;
	char *out;

	if (!take_bytes(argv[0], &b, "hex.encode"))
		return JS_EXCEPTION;
	out = js_malloc(x, 2 * b.len + 1);
	if (out) {
		hex_encode(b.p, b.len, out);
		made = JS_NewStringLen(x, out, 2 * b.len);
	}
	js_free(x, out);
	release_bytes(&b);
	return made;
}

static JSValue js_hex_decode(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	return decoded(x, argv[0], "hex.decode", hex_decode);
}

static JSValue js_crc(JSContext *x, JSValueConst self, int argc, JSValueConst *argv, int magic)
{
	struct bytes b;
	uint32_t sum;

	if (!take_bytes(argv[0], &b, crc_names[magic]))
		return JS_EXCEPTION;
	sum = crc_of(magic, b.p, b.len);
	release_bytes(&b);
	return JS_NewUint32(x, sum);
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
	JS_CFUNC_DEF("encode", 1, js_base64_encode),
	JS_CFUNC_DEF("decode", 1, js_base64_decode),
};
static const JSCFunctionListEntry hex_functions[] = {
	JS_CFUNC_DEF("encode", 1, js_hex_encode),
	JS_CFUNC_DEF("decode", 1, js_hex_decode),
};
static const JSCFunctionListEntry crc_functions[] = {
	JS_CFUNC_MAGIC_DEF("x25", 1, js_crc, CRC_X25),
	JS_CFUNC_MAGIC_DEF("modbus", 1, js_crc, CRC_MODBUS),
	JS_CFUNC_MAGIC_DEF("xmodem", 1, js_crc, CRC_XMODEM),
	JS_CFUNC_MAGIC_DEF("ccitt", 1, js_crc, CRC_CCITT),
	JS_CFUNC_MAGIC_DEF("crc32", 1, js_crc, CRC_CRC32),
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

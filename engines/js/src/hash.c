/* Hashes, as scripts have them. */
#include <stdlib.h>

#include "engine.h"

static JSValue js_hash(JSContext *x, JSValueConst self, int argc, JSValueConst *argv, int magic)
{
	const struct algorithm *a = &algorithms[magic];
	uint8_t digest[DIGEST_ROOM];
	struct bytes b;

	if (!take_bytes(argv[0], &b, a->name))
		return JS_EXCEPTION;
	hash_of(a, b.p, b.len, digest);
	release_bytes(&b);
	return new_bytes(digest, a->digest);
}

static JSValue js_hmac(JSContext *x, JSValueConst self, int argc, JSValueConst *argv, int magic)
{
	const struct algorithm *a = &algorithms[magic];
	uint8_t digest[DIGEST_ROOM];
	struct bytes key, b;

	if (!take_bytes(argv[0], &key, a->name))
		return JS_EXCEPTION;
	if (!take_bytes(argv[1], &b, a->name)) {
		release_bytes(&key);
		return JS_EXCEPTION;
	}
	hmac_of(a, key.p, key.len, b.p, b.len, digest);
	release_bytes(&key);
	release_bytes(&b);
	return new_bytes(digest, a->digest);
}

static JSClassID hash_class;

static void free_hash(JSRuntime *rt, JSValue v)
{
	free(JS_GetOpaque(v, hash_class));
}

/* new Hash("sha256"): for what comes in parts. */
static JSValue new_hash(JSContext *x, JSValueConst target, int argc, JSValueConst *argv)
{
	const char *name = JS_ToCString(x, argv[0]);
	const struct algorithm *a;
	struct hash *h;
	JSValue prototype, made;

	if (!name)
		return JS_EXCEPTION;
	a = find_algorithm(name);
	if (!a)
		JS_ThrowTypeError(x, "there is no hash \"%.32s\"; there are md5, sha1, sha256 and sha512", name);
	JS_FreeCString(x, name);
	if (!a)
		return JS_EXCEPTION;
	prototype = JS_GetPropertyStr(x, target, "prototype");
	made = JS_NewObjectProtoClass(x, prototype, hash_class);
	JS_FreeValue(x, prototype);
	if (JS_IsException(made))
		return made;
	h = malloc(sizeof *h);
	if (!h) {
		JS_FreeValue(x, made);
		return JS_ThrowOutOfMemory(x);
	}
	begin_hash(h, a);
	JS_SetOpaque(made, h);
	return made;
}

static struct hash *open_hash(JSContext *x, JSValueConst self)
{
	struct hash *h = JS_GetOpaque2(x, self, hash_class);

	if (h && h->ended) {
		JS_ThrowTypeError(x, "the hash has ended with its digest; new Hash(\"%s\") begins another", h->algorithm->name);
		return NULL;
	}
	return h;
}

static JSValue hash_update(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct hash *h = open_hash(x, self);
	struct bytes b;

	if (!h || !take_bytes(argv[0], &b, "update"))
		return JS_EXCEPTION;
	add_to_hash(h, b.p, b.len);
	release_bytes(&b);
	return JS_DupValue(x, self);
}

static JSValue hash_digest(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct hash *h = open_hash(x, self);
	uint8_t digest[DIGEST_ROOM];

	if (!h)
		return JS_EXCEPTION;
	end_hash(h, digest);
	return new_bytes(digest, h->algorithm->digest);
}

/* equal(a, b): whether the bytes are the same, in a time that tells nothing of where they
 * differ. */
static JSValue equal(JSContext *x, JSValueConst self, int argc, JSValueConst *argv)
{
	struct bytes a, b;
	bool same;

	if (!take_bytes(argv[0], &a, "equal"))
		return JS_EXCEPTION;
	if (!take_bytes(argv[1], &b, "equal")) {
		release_bytes(&a);
		return JS_EXCEPTION;
	}
	same = equal_bytes(a.p, a.len, b.p, b.len);
	release_bytes(&a);
	release_bytes(&b);
	return JS_NewBool(x, same);
}

static const JSCFunctionListEntry hash_functions[] = {
	JS_CFUNC_MAGIC_DEF("md5", 1, js_hash, MD5),
	JS_CFUNC_MAGIC_DEF("sha1", 1, js_hash, SHA1),
	JS_CFUNC_MAGIC_DEF("sha256", 1, js_hash, SHA256),
	JS_CFUNC_MAGIC_DEF("sha512", 1, js_hash, SHA512),
};
static const JSCFunctionListEntry hmac_functions[] = {
	JS_CFUNC_MAGIC_DEF("md5", 2, js_hmac, MD5),
	JS_CFUNC_MAGIC_DEF("sha1", 2, js_hmac, SHA1),
	JS_CFUNC_MAGIC_DEF("sha256", 2, js_hmac, SHA256),
	JS_CFUNC_MAGIC_DEF("sha512", 2, js_hmac, SHA512),
};
static const JSCFunctionListEntry global_functions[] = {
	JS_OBJECT_DEF("hash", hash_functions, 4, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE),
	JS_OBJECT_DEF("hmac", hmac_functions, 4, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE),
	JS_CFUNC_DEF("equal", 2, equal),
};
static const JSCFunctionListEntry method_functions[] = {
	JS_CFUNC_DEF("update", 1, hash_update),
	JS_CFUNC_DEF("digest", 0, hash_digest),
};
static const JSClassDef hash_definition = {"Hash", .finalizer = free_hash};

int define_hashes(JSValueConst global)
{
	JSValue prototype, constructor;

	JS_NewClassID(&hash_class);
	if (JS_NewClass(JS_GetRuntime(ctx), hash_class, &hash_definition))
		return -1;
	prototype = JS_NewObject(ctx);
	JS_SetPropertyFunctionList(ctx, prototype, method_functions, sizeof method_functions / sizeof *method_functions);
	constructor = JS_NewCFunction2(ctx, new_hash, "Hash", 1, JS_CFUNC_constructor, 0);
	JS_SetConstructor(ctx, constructor, prototype);
	JS_SetClassProto(ctx, hash_class, prototype);
	JS_SetPropertyFunctionList(ctx, global, global_functions, sizeof global_functions / sizeof *global_functions);
	return JS_SetPropertyStr(ctx, global, "Hash", constructor);
}

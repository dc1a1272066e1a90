/* Hashes, as scripts have them. */
#include "engine.h"

static int l_hash(lua_State *l)
{
	const struct algorithm *a = &algorithms[lua_tointeger(l, lua_upvalueindex(1))];
	uint8_t digest[DIGEST_ROOM];
	size_t length;
	const uint8_t *p = bytes_of(l, 1, &length);

	hash_of(a, p, length, digest);
	lua_pushlstring(l, (const char *)digest, a->digest);
	return 1;
}

static int l_hmac(lua_State *l)
{
	const struct algorithm *a = &algorithms[lua_tointeger(l, lua_upvalueindex(1))];
	uint8_t digest[DIGEST_ROOM];
	size_t key_length, length;
	const uint8_t *key = bytes_of(l, 1, &key_length), *p = bytes_of(l, 2, &length);

	hmac_of(a, key, key_length, p, length, digest);
	lua_pushlstring(l, (const char *)digest, a->digest);
	return 1;
}

static int l_equal(lua_State *l)
{
	size_t length, other_length;
	const uint8_t *p = bytes_of(l, 1, &length), *q = bytes_of(l, 2, &other_length);

	lua_pushboolean(l, equal_bytes(p, length, q, other_length));
	return 1;
}

static char metatable; /* its address is the metatable's key in the registry */

/* Hash("sha256"): for what comes in parts. */
static int l_new_hash(lua_State *l)
{
	const char *name = luaL_checkstring(l, 1);
	const struct algorithm *a = find_algorithm(name);

	if (!a)
		return luaL_error(l, "there is no hash \"%s\"; there are md5, sha1, sha256 and sha512", name);
	begin_hash(lua_newuserdatauv(l, sizeof(struct hash), 0), a);
	lua_rawgetp(l, LUA_REGISTRYINDEX, &metatable);
	lua_setmetatable(l, -2);
	return 1;
}

static struct hash *open_hash(lua_State *l, const char *method)
{
	struct hash *h = lua_touserdata(l, 1);
	bool is = h && lua_getmetatable(l, 1);

	if (is) {
		lua_rawgetp(l, LUA_REGISTRYINDEX, &metatable);
		is = lua_rawequal(l, -1, -2);
		lua_pop(l, 2);
	}
	if (!is)
		luaL_error(l, "%s is a method of a hash: write h:%s(...), with a colon", method, method);
	if (h->ended)
		luaL_error(l, "the hash has ended with its digest; Hash(\"%s\") begins another", h->algorithm->name);
	return h;
}

static int hash_update(lua_State *l)
{
	struct hash *h = open_hash(l, "update");
	size_t length;
	const uint8_t *p = bytes_of(l, 2, &length);

	add_to_hash(h, p, length);
	lua_settop(l, 1);
	return 1;
}

static int hash_digest(lua_State *l)
{
	struct hash *h = open_hash(l, "digest");
	uint8_t digest[DIGEST_ROOM];

	end_hash(h, digest);
	lua_pushlstring(l, (const char *)digest, h->algorithm->digest);
	return 1;
}

static const luaL_Reg methods[] = {{"update", hash_update}, {"digest", hash_digest}, {NULL, NULL}};

static const char *algorithm_name(int i) { return algorithms[i].name; }

/* Defines them in the table on the top, which is that of the global variables. */
void define_hashes(void)
{
	define_all("hash", l_hash, algorithm_name, ALGORITHMS);
	define_all("hmac", l_hmac, algorithm_name, ALGORITHMS);
	lua_pushcfunction(L, l_equal);
	lua_setfield(L, -2, "equal");
	lua_pushcfunction(L, l_new_hash);
	lua_setfield(L, -2, "Hash");
	lua_newtable(L); /* the metatable */
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0); /* scripts cannot get at it */
	lua_setfield(L, -2, "__metatable");
	lua_pushstring(L, "hash");
	lua_setfield(L, -2, "__name");
	lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable);
}

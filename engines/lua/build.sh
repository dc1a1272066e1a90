#!/usr/bin/env bash
# Builds lua.wasm: Lua 5.4, as Debian's source package lua5.4 has it, and the files in src and
# in ../guest.
#
#   engines/lua/build.sh           build it, in place
#   engines/lua/build.sh --check   build it elsewhere, and fail if the one here differs
#
# The same sources and the same compiler give the same bytes. It takes clang 19, which makes
# WebAssembly exceptions of setjmp, and Debian's C library for WASI:
# apt-get install clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C

# The archive is that of Debian's package lua5.4 5.4.7-1, unchanged: its .dsc has this sum.
archive=lua5.4_5.4.7.orig.tar.gz
sum=9fbf5e28ef86c69858f6d3d34eccc32e911c1a28b4120ff3e84aaa70cfbf1e30

fail() {
	echo "engines/lua/build.sh: $*" >&2
	exit 1
}

check=no
case "${1-}" in
'') ;;
--check) check=yes ;;
*)
	echo "usage: engines/lua/build.sh [--check]" >&2
	exit 2
	;;
esac
for tool in clang-19 wasm-ld-19; do
	command -v "$tool" >/dev/null || fail "there is no $tool; install what is needed with: apt-get install clang-19 lld-19 libclang-rt-19-dev-wasm32"
done
[ -e /usr/lib/wasm32-wasi/libc.a ] || fail "there is no C library for WASI; install it with: apt-get install wasi-libc"
echo "$sum  $archive" | sha256sum --check --quiet || fail "$archive is not the one of Debian's package"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$archive" -C "$work" --strip-components=1 --no-same-owner
sed -n '/^\* Copyright/,/^\* SOFTWARE/s/^\* \{0,1\}//p' "$work/src/lua.h" | cmp -s - LICENSE ||
	fail "LICENSE is not Lua's; copy it out of lua.h"

# Lua's place for changes is the end of luaconf.h. The stack's limit is one that a connection's
# memory has room for, so that endless recursion is an error with a line.
cat >>"$work/src/luaconf.h" <<'EOF'
#undef LUAI_MAXSTACK
#define LUAI_MAXSTACK 60000
#define l_signalT int
unsigned int guest_seed(void);
#define luai_makeseed(state) guest_seed()
#define lua_writestring(s, l) ((void)0)
#define lua_writeline() ((void)0)
#define lua_writestringerror(s, p) ((void)0)
struct lua_State;
extern int steps_left;
void note_where(struct lua_State *l);
#define luai_step(state, save) (l_unlikely(--steps_left <= 0) ? ((void)(save), note_where(state)) : (void)0)
EOF

# Loops that jump back, calls, and the tries of a pattern are steps: see note_where of src/engine.c.
# The interpreter has to know then where it is, and Lua writes that down only before calls.
patch() { # a file, a line of it that is there once, and what becomes of it
	[ "$(grep -cF "$2" "$work/src/$1")" = 1 ] || fail "$1 has not once: $2"
	sed -i "s|$(sed 's/[][\\.*^$|]/\\&/g' <<<"$2")|$(sed 's/[\\&|]/\\&/g' <<<"$3")|" "$work/src/$1"
}
patch lvm.c '{ pc += GETARG_sJ(i) + e; updatetrap(ci); }' \
	'{ int by = GETARG_sJ(i) + e; if (by < 0) luai_step(L, savepc(L)); pc += by; updatetrap(ci); }'
patch lvm.c 'updatetrap(ci);  /* allows a signal to break the loop */' 'updatetrap(ci); luai_step(L, savepc(L));'
patch lvm.c 'setobjs2s(L, ra + 2, ra + 4);  /* save control variable */' \
	'setobjs2s(L, ra + 2, ra + 4); luai_step(L, savepc(L));'
patch lvm.c ' startfunc:' ' startfunc: luai_step(L, 0);'
patch lstrlib.c 'if (l_unlikely(ms->matchdepth-- == 0))' 'luai_step(ms->L, 0); if (l_unlikely(ms->matchdepth-- == 0))'
# A connection's methods and fields are found without a call: see quick_index of src/connection.c.
patch lvm.c 'tm = luaT_gettmbyobj(L, t, TM_INDEX);' \
	'int quick_index(const TValue *, const TValue *, StkId); if (quick_index(t, key, val)) return; tm = luaT_gettmbyobj(L, t, TM_INDEX);'
# Strings that an event has made and nobody keeps are freed with it: see free_strings of src/memory.c.
# luaC_keeps says that something new may be kept: an object that is not new got it, or another
# stack, or the cache of luaS_new, or the collector has looked at what is new.
patch lgc.h '	(isblack(p) && iswhite(o)) ? \' '	(iswhite(o) && (luaC_keeps = 1, isblack(p))) ? \'
patch lgc.h '	(isblack(p) && iswhite(o)) ? luaC_barrierback_(L,p) : cast_void(0))' \
	'	(iswhite(o) && (luaC_keeps = 1, isblack(p))) ? luaC_barrierback_(L,p) : cast_void(0))'
patch lgc.h 'LUAI_FUNC void luaC_fix (lua_State *L, GCObject *o);' \
	'LUAI_FUNC void luaC_fix (lua_State *L, GCObject *o); extern int luaC_keeps; void luaC_freestrings (lua_State *L, GCObject *last);'
patch lgc.c 'static lu_mem atomic (lua_State *L) {' 'static lu_mem atomic (lua_State *L) { luaC_keeps = 1;'
patch lstring.c 'p[0] = luaS_newlstr(L, str, strlen(str));' 'luaC_keeps = 1; p[0] = luaS_newlstr(L, str, strlen(str));'
patch lapi.c 'LUA_API void lua_xmove (lua_State *from, lua_State *to, int n) {' \
	'LUA_API void lua_xmove (lua_State *from, lua_State *to, int n) { luaC_keeps = 1;'
patch ldo.c '  L->nCcalls = (from) ? getCcalls(from) : 0;' '  luaC_keeps = 1; L->nCcalls = (from) ? getCcalls(from) : 0;'
cat >>"$work/src/lgc.c" <<'EOF'

/* Frees the objects that were made after last, if they are strings alone. */
void luaC_freestrings (lua_State *L, GCObject *last) {
  global_State *g = G(L);
  GCObject *o;
  for (o = g->allgc; o != last; o = o->next)
    if (novariant(o->tt) != LUA_TSTRING || !iswhite(o)) return;
  while ((o = g->allgc) != last) {
    g->allgc = o->next;
    freeobj(L, o);
  }
}
EOF
# A task begins with a function of C that has no frame: see run_event_of of src/task.c.
cat >>"$work/src/ldo.c" <<'EOF'

/* Is lua_resume for a thread on which nothing runs, and a function that calls others by luaD_call
** on the thread itself. */
int luaD_begin (lua_State *L, lua_State *from, Pfunc f, void *ud) {
  int status;
  L->nCcalls = getCcalls(from);
  if (l_unlikely(getCcalls(L) >= LUAI_MAXCCALLS))
    return resume_error(L, "C stack overflow", 0);
  L->nCcalls++;
  status = precover(L, luaD_rawrunprotected(L, f, ud));
  if (l_unlikely(errorstatus(status))) {
    L->status = cast_byte(status);  /* mark thread as 'dead' */
    luaD_seterrorobj(L, status, L->top.p);  /* push error message */
    L->ci->top.p = L->top.p;
  }
  return status;
}
EOF
# What a guest does not have. The functions of scripts that would use it are taken out of their
# tables, in library.c.
cat >"$work/none.h" <<'EOF'
#include <stdio.h>
#include <stdlib.h>
#undef stdin
#define stdin ((FILE *)0)
#define fopen(path, mode) ((void)(path), (FILE *)0)
#define freopen(path, mode, file) ((void)(path), (FILE *)0)
#define fclose(file) ((void)(file), 0)
#define fread(to, size, count, file) ((void)(file), 0)
#undef getc
#define getc(file) ((void)(file), EOF)
#define feof(file) ((void)(file), 1)
#define ferror(file) ((void)(file), 0)
#define system(command) ((void)(command), -1)
#define getenv(name) ((void)(name), (char *)0)
#define exit(status) ((void)(status))
#define L_tmpnam 1
#define tmpnam(name) ((void)(name), (char *)0)
#define remove(path) ((void)(path), -1)
#define rename(from, to) ((void)(from), (void)(to), -1)
EOF

flags=(--target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 -mbulk-memory -D_WASI_EMULATED_PROCESS_CLOCKS
	-fwasm-exceptions -mllvm -wasm-enable-sjlj
	-include src/little.h -I../../sdk/c -I../../sdk/c/setjmp -Isrc -I"$work/src" -ffile-prefix-map="$work"=lua -ffile-prefix-map="$PWD"=engine)
objects=()
for name in lapi lauxlib lbaselib lcode lcorolib lctype ldebug ldo ldump lfunc lgc llex lmathlib lmem \
	lobject lopcodes loslib lparser lstate lstring lstrlib ltable ltablib ltm lundump lutf8lib lvm lzio; do
	clang-19 "${flags[@]}" -w -include "$work/none.h" -c "$work/src/$name.c" -o "$work/$name.o" &
	objects+=("$work/$name.o")
done
for file in src/*.c ../guest/*.c ../../sdk/c/setjmp/setjmp.c; do
	name=our-$(basename "$(dirname "$file")")-$(basename "$file" .c)
	clang-19 "${flags[@]}" -std=c2x -fms-extensions -Wall -Wextra -Werror -Wno-unused-parameter \
		-Wno-sign-compare -Wno-microsoft-anon-tag -c "$file" -o "$work/$name.o"
	objects+=("$work/$name.o")
done
wait

# The stack comes first of all, so that an overflow traps and overwrites nothing.
clang-19 --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -mexec-model=reactor -Wl,--strip-all -Wl,--stack-first \
	-Wl,-z,stack-size=262144 -Wl,--export=bulkhead_script -Wl,--export=bulkhead_where "${objects[@]}" -lm \
	-lwasi-emulated-process-clocks -o "$work/lua.wasm"
chmod 644 "$work/lua.wasm"

if [ "$check" = yes ]; then
	cmp -s lua.wasm "$work/lua.wasm" || fail "lua.wasm is not what its source builds to; run: engines/lua/build.sh"
	echo "engines/lua/lua.wasm is what its source builds to"
	exit
fi
cp "$work/lua.wasm" lua.wasm
ls -l lua.wasm

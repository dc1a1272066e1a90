#!/usr/bin/env bash
# Builds Lua 5.4 of Debian's source package, which engines/lua has, with programs that measure it:
# jumps.wasm raises its errors by longjmp, which is made of exceptions, and plain.wasm is the same
# without exceptions: an error ends it. Both take clang 19 and Debian's C library for WASI:
# apt-get install clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc
#
#   build.sh           build them, in place
#   build.sh --check   build them elsewhere, and fail if one here differs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C
root=../../../../..
out=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ "${1-}" != --check ] || out=$work
tar -xzf $root/engines/lua/lua5.4_5.4.7.orig.tar.gz -C "$work" --strip-components=1 --no-same-owner
cat >>"$work/src/luaconf.h" <<'EOF'
#define l_signalT int
#define luai_makeseed(state) 1
#define l_randomizePivot() 0u
EOF
# ldo.c takes these where somebody has them.
cat >"$work/plain.h" <<'EOF'
#define LUAI_THROW(state, jump) __builtin_trap()
#define LUAI_TRY(state, jump, block) { block }
#define luai_jmpbuf int
EOF
build() { # name, flags
	local objects=() name
	for name in lapi lauxlib lbaselib lcode lcorolib lctype ldebug ldo ldump lfunc lgc llex lmathlib lmem \
		lobject lopcodes lparser lstate lstring lstrlib ltable ltablib ltm lundump lutf8lib lvm lzio; do
		objects+=("$work/src/$name.c")
	done
	clang-19 --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 -w -mbulk-memory -I"$work/src" -I$root/sdk/c/setjmp \
		-ffile-prefix-map="$work"=lua "${@:2}" -mexec-model=reactor -Wl,--strip-all -Wl,--stack-first -Wl,-z,stack-size=262144 \
		run.c "${objects[@]}" -lm -o "$out/$1.wasm"
	chmod 644 "$out/$1.wasm"
}
build jumps -fwasm-exceptions -mllvm -wasm-enable-sjlj $root/sdk/c/setjmp/setjmp.c $root/sdk/c/setjmp/tag.s &
build plain -include "$work/plain.h"
wait %1
if [ "${1-}" = --check ]; then
	for name in jumps plain; do
		cmp -s $name.wasm "$work/$name.wasm" || { echo "testdata/lua/$name.wasm is not what its source builds to; run build.sh beside it" >&2; exit 1; }
	done
	echo "the Lua that measures exceptions is what its source builds to"
	exit
fi
ls -l ./*.wasm

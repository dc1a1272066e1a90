#!/usr/bin/env bash
# Builds python.wasm: MicroPython 1.25.0, and the files in src and in ../guest.
#
#   engines/python/build.sh           build it, in place
#   engines/python/build.sh --check   build it elsewhere, and fail if the one here differs
#
# The same sources and the same compiler give the same bytes. It takes clang 19, which makes
# WebAssembly exceptions of setjmp, Debian's C library for WASI, and Python, for MicroPython's own
# scripts: apt-get install clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc xz-utils python3
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1

fail() {
	echo "engines/python/build.sh: $*" >&2
	exit 1
}

check=no
case "${1-}" in
'') ;;
--check) check=yes ;;
*)
	echo "usage: engines/python/build.sh [--check]" >&2
	exit 2
	;;
esac
for tool in clang-19 wasm-ld-19 xz python3; do
	command -v "$tool" >/dev/null || fail "there is no $tool; install what is needed with: apt-get install clang-19 lld-19 libclang-rt-19-dev-wasm32 xz-utils python3"
done
[ -e /usr/lib/wasm32-wasi/libc.a ] || fail "there is no C library for WASI; install it with: apt-get install wasi-libc"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$PWD
source ./micropython.sh
unpack_micropython

flags=(--target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 -mbulk-memory -DNDEBUG
	-fwasm-exceptions -mllvm -wasm-enable-sjlj
	-I../../sdk/c -I../../sdk/c/setjmp -Isrc -I"$work" -I"$top"
	-ffile-prefix-map="$work"=python -ffile-prefix-map="$PWD"=engine)
ours=(src/*.c ../guest/*.c ../../sdk/c/setjmp/setjmp.c)

objects=()
compile_micropython "${flags[@]}"
for file in "${ours[@]}"; do
	name=our-$(basename "$file" .c)
	clang-19 "${flags[@]}" -std=c2x -fms-extensions -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
		-Wno-microsoft-anon-tag -Wno-missing-field-initializers -c "$file" -o "$work/$name.o"
	objects+=("$work/$name.o")
done

# The stack comes first of all, so that an overflow traps and overwrites nothing.
clang-19 --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -mexec-model=reactor -Wl,--strip-all -Wl,--stack-first \
	-Wl,-z,stack-size=262144 -Wl,--export=bulkhead_script -Wl,--export=bulkhead_where "${objects[@]}" -lm -o "$work/python.wasm"
chmod 644 "$work/python.wasm"

if [ "$check" = yes ]; then
	cmp -s python.wasm "$work/python.wasm" || fail "python.wasm is not what its source builds to; run: engines/python/build.sh"
	echo "engines/python/python.wasm is what its source builds to"
	exit
fi
cp "$work/python.wasm" python.wasm
ls -l python.wasm

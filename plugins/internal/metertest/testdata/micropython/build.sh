#!/usr/bin/env bash
# Builds MicroPython as engines/python has it, with benchmarks of its own that measure it: jumps.wasm
# raises its errors by longjmp, which is made of exceptions, and plain.wasm is the same without
# exceptions: an error ends it. Both take clang 19 and what else engines/python/build.sh names.
#
# perf_bench.tar.xz has files of tests/perf_bench of Debian's package micropython 1.25.0+ds-1,
# unchanged: all that use only what the engine has. MicroPython's licence, that of engines/python,
# is theirs, too; the first lines of some name another source with the same licence.
#
#   build.sh           build them, in place
#   build.sh --check   build them elsewhere, and fail if one here differs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
root=$(realpath ../../../../..)
python=$root/engines/python
out=$PWD
all=$(mktemp -d)
trap 'rm -rf "$all"' EXIT
[ "${1-}" != --check ] || out=$all

fail() {
	echo "testdata/micropython/build.sh: $*" >&2
	exit 1
}

mkdir "$all/programs" "$all/none"
tar -xJf perf_bench.tar.xz -C "$all/programs" --no-same-owner
for file in "$all"/programs/*.py; do
	# A text with a zero byte behind it.
	name=$(basename "$file" .py)
	printf '{"%s", (const char[]){\n#embed "%s"\n, 0}},\n' "$name" "$file"
done >"$all/programs.h"
# What MicroPython includes for its jumps, where there are none.
cat >"$all/none/setjmp.h" <<'HEADER'
typedef int jmp_buf[1];
#define setjmp(buffer) 0
#define longjmp(buffer, value) __builtin_trap()
HEADER

build() { # name, a source that only it has, flags
	local name=$1 work=$all/$1 objects=() ours=(run.c "$python/src/collect.c" ${2:+"$2"}) file
	mkdir "$work"
	source "$python/micropython.sh"
	unpack_micropython
	local flags=(--target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 -mbulk-memory -DNDEBUG "${@:3}"
		-I"$root/sdk/c" -I"$python/src" -I"$all" -I"$work" -I"$top" -ffile-prefix-map="$all"=python -ffile-prefix-map="$root"=bulkhead)
	compile_micropython "${flags[@]}"
	clang-19 "${flags[@]}" -std=c2x -fms-extensions -w -mexec-model=reactor -Wl,--strip-all -Wl,--stack-first \
		-Wl,-z,stack-size=262144 "${ours[@]}" "${objects[@]}" -lm -o "$out/$name.wasm"
	chmod 644 "$out/$name.wasm"
}
build jumps "$root/sdk/c/setjmp/setjmp.c" -fwasm-exceptions -mllvm -wasm-enable-sjlj -I"$root/sdk/c/setjmp"
build plain "" -I"$all/none"
if [ "${1-}" = --check ]; then
	for name in jumps plain; do
		cmp -s $name.wasm "$all/$name.wasm" || fail "$name.wasm is not what its source builds to; run build.sh beside it"
	done
	echo "the MicroPython that measures exceptions is what its source builds to"
	exit
fi
ls -l ./*.wasm

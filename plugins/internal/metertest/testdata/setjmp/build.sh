#!/usr/bin/env bash
# Builds the modules beside it, and writes what native code says. The final encoding takes
# clang 22, the legacy one is what clang 19 makes (apt-get install clang-22 lld-22 clang-19 lld-19;
# clang 22 is apt.llvm.org's).
#
#   build.sh           build them, in place
#   build.sh --check   build them elsewhere, and fail if one here differs; those whose compiler is
#                      not at hand, or is not the one that has made them, are left out, and named
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C
check=no
[ "${1-}" != --check ] || check=yes
sjlj=../../../../../sdk/c/setjmp
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$PWD
[ $check = no ] || out=$work

# fresh FILE...: with --check, whether they are the same.
fresh() {
	[ $check = yes ] || return 0
	local file
	for file in "$@"; do
		cmp -s "$file" "$work/$file" || { echo "testdata/setjmp/$file is not what its source builds to; run build.sh beside it" >&2; exit 1; }
	done
	echo "testdata/setjmp: $* are what their sources build to"
}

# made_by FILE: the version of the compiler that the module names.
made_by() { grep -aoE 'clang.?[0-9]+\.[0-9]+\.[0-9]+' "$1" | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -1; }

build() { # encoding, version of clang, its flags
	local o version
	if [ $check = yes ]; then
		version=$(made_by "$1-O0.wasm")
		if ! command -v "clang-$2" >/dev/null || ! command -v "wasm-ld-$2" >/dev/null || ! "clang-$2" --version | grep -qF "clang version $version"; then
			echo "testdata/setjmp: the modules of the $1 encoding cannot be built: they take clang-$2 and lld-$2, of version $version" >&2
			return
		fi
	fi
	for o in O0 O2 Os; do
		"clang-$2" --target=wasm32 -std=c11 "-$o" -nostdlib -ffreestanding -I"$sjlj" -Wall -Wextra -Werror \
			-fwasm-exceptions -mllvm -wasm-enable-sjlj "${@:3}" \
			-Wl,--no-entry -Wl,--stack-first -Wl,--export-memory -Wl,--export=__c_longjmp \
			-o "$out/$1-$o.wasm" torture.c "$sjlj/setjmp.c" "$sjlj/tag.s"
	done
	fresh "$1-O0.wasm" "$1-O2.wasm" "$1-Os.wasm"
}
build final 22 -mllvm -wasm-use-legacy-eh=false
build legacy 19
clang-19 -std=c11 -O1 -DNATIVE -o "$work/native" torture.c
"$work/native" >"$out/native.txt"
fresh native.txt

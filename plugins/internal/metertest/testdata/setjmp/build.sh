#!/usr/bin/env bash
# Builds the modules beside it, and writes what native code says. The final encoding takes
# clang 22, the legacy one is what clang 19 makes (apt-get install clang-22 lld-22 clang-19 lld-19).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
sjlj=../../../../../sdk/c/setjmp
build() { # encoding, version of clang, its flags
	for o in O0 O2 Os; do
		"clang-$2" --target=wasm32 -std=c11 "-$o" -nostdlib -ffreestanding -I"$sjlj" -Wall -Wextra -Werror \
			-fwasm-exceptions -mllvm -wasm-enable-sjlj "${@:3}" \
			-Wl,--no-entry -Wl,--stack-first -Wl,--export-memory -Wl,--export=__c_longjmp \
			-o "$1-$o.wasm" torture.c "$sjlj/setjmp.c" "$sjlj/tag.s"
	done
}
build final 22 -mllvm -wasm-use-legacy-eh=false
build legacy 19
native=$(mktemp)
trap 'rm -f "$native"' EXIT
clang-19 -std=c11 -O1 -DNATIVE -o "$native" torture.c
"$native" >native.txt

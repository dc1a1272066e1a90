#!/usr/bin/env bash
# Builds guest.wasm.
#
#   abi/conformance/guest/build.sh           builds it, in place
#   abi/conformance/guest/build.sh --check   builds it elsewhere, and fails if the one here differs
#
# clang is version 19 (Debian: apt-get install clang-19 lld-19).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
out=guest.wasm
if [ "${1-}" = --check ]; then
	out=$(mktemp)
	trap 'rm -f "$out"' EXIT
fi
clang-19 --target=wasm32 -std=c11 -Os -nostdlib -ffreestanding -Wall -Wextra -Werror \
	-Wl,--no-entry -Wl,--stack-first -Wl,-z,stack-size=16384 -Wl,--strip-all -o "$out" guest.c
chmod 644 "$out"
if [ "$out" != guest.wasm ] && ! cmp -s guest.wasm "$out"; then
	echo "abi/conformance/guest/guest.wasm is not what its source builds to; run: abi/conformance/guest/build.sh" >&2
	exit 1
fi

#!/usr/bin/env bash
# Builds the benchmark's guests, beside their sources.
#
#   bench/guests/build.sh           build them, in place
#   bench/guests/build.sh --check   build them elsewhere, and fail if a shipped one differs
#
# The same sources and the same compiler give the same bytes. It is clang 19 (Debian:
# apt-get install clang-19 lld-19). Bulk memory is on, as in compilers' defaults since: a
# copy of unknown length is one instruction then, which is what the meter charges by length.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/src"
export LC_ALL=C

check=no
case "${1-}" in
'') ;;
--check) check=yes ;;
*)
	echo "usage: bench/guests/build.sh [--check]" >&2
	exit 2
	;;
esac

for tool in clang-19 wasm-ld-19; do
	command -v "$tool" >/dev/null || {
		echo "bench/guests/build.sh: there is no $tool; install it with: apt-get install clang-19 lld-19" >&2
		exit 1
	}
done

out=$PWD
if [ "$check" = yes ]; then
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi

stale=0
for source in *.c; do
	wasm=${source%.c}.wasm
	# The stack comes first of all, so that an overflow traps and overwrites nothing.
	clang-19 --target=wasm32 -std=c11 -O2 -mbulk-memory -nostdlib -ffreestanding -Wall -Wextra -Werror \
		-Wl,--no-entry -Wl,--stack-first -Wl,-z,stack-size=16384 -Wl,--strip-all -o "$out/$wasm" "$source"
	chmod 644 "$out/$wasm"
	if [ "$check" = yes ] && ! cmp -s "$wasm" "$out/$wasm"; then
		echo "bench/guests/src/$wasm is not what its source builds to; run: bench/guests/build.sh" >&2
		stale=1
	fi
done
# The Go guest is built as examples/build.sh builds its own.
GOOS=wasip1 GOARCH=wasm GOWASM='' GOFLAGS='' CGO_ENABLED=0 GOEXPERIMENT='' GOWORK=off \
	go build -trimpath -buildvcs=false -buildmode=c-shared -ldflags='-s -w -buildid=' -o "$out/echogo.wasm" ./echogo
chmod 644 "$out/echogo.wasm"
if [ "$check" = yes ] && ! cmp -s echogo.wasm "$out/echogo.wasm"; then
	echo "bench/guests/src/echogo.wasm is not what its source builds to; run: bench/guests/build.sh" >&2
	stale=1
fi
if [ "$check" = yes ]; then
	[ "$stale" = 0 ] && echo "every guest of the benchmark is what its source builds to"
	exit "$stale"
fi
ls -l ./*.wasm

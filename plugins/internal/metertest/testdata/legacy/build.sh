#!/usr/bin/env bash
# Translates the scripts of legacy exceptions, with wast2json of wabt 1.0.32 (Debian 12: apt-get
# install wabt), and holds them against the engine of Node 20, which has legacy exceptions itself.
#
#   build.sh           translate them, in place
#   build.sh --check   translate them elsewhere, and fail if a file here differs; without these
#                      programs they are left out, which it says
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C
out=$PWD
if [ "${1-}" = --check ]; then
	if ! command -v node >/dev/null || [ "$(wast2json --version 2>&1)" != 1.0.32 ]; then
		echo "testdata/legacy cannot be translated: that takes wast2json of wabt 1.0.32, and node" >&2
		exit
	fi
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
else
	rm -f ./*.wasm ./*.json
fi
for script in *.wast; do
	wast2json --enable-exceptions "$script" -o "$out/${script%.wast}.json"
done
node native.mjs "$out"/*.json
if [ "${1-}" = --check ]; then
	for file in *.wasm *.json; do
		cmp -s "$file" "$out/$file" || { echo "testdata/legacy/$file is not what its script says; run build.sh beside it" >&2; exit 1; }
	done
	echo "testdata/legacy is what its scripts say"
fi

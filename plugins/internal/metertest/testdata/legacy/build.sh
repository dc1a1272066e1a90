#!/usr/bin/env bash
# Translates the scripts of legacy exceptions, with wast2json of wabt 1.0.32 (Debian 12: apt-get
# install wabt), and holds them against the engine of Node 20, which has legacy exceptions itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
rm -f ./*.wasm ./*.json
for script in *.wast; do
	wast2json --enable-exceptions "$script" -o "${script%.wast}.json"
done
node native.mjs ./*.json

# What a developer needs, in one place. `go run` and `go test` need none of it.

.PHONY: all build test race check generate wasm fuzz bench

all: check test

build:
	go build -trimpath -o bulkhead ./cmd/bulkhead

test:
	go test ./...

race:
	go test -race ./...

# What must be clean before a commit.
check:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these files'; exit 1; }
	go vet ./...
	go tool staticcheck ./...

# ABI.md, the C header and the Go bindings, from the table in abi/.
generate:
	go generate ./abi

# The shipped .wasm files, from their sources (needs clang-19, lld-19 and wasi-libc).
wasm:
	bash examples/build.sh
	bash engines/js/build.sh
	bash engines/lua/build.sh
	bash engines/python/build.sh

# Each fuzz target for FUZZTIME; what they find is saved under testdata/fuzz.
FUZZTIME ?= 10s
fuzz:
	bash .ci/fuzz $(FUZZTIME)

# Side by side with the rivals: see bench/README.md.
bench:
	$(MAKE) -C bench

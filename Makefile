# What can be done here. `make` alone lists it.

CARGO ?= cargo
WASM := wasm32-wasip2
# Quick to build: see Cargo.toml. What is shipped is built with `--release`.
TESTING := --profile testing
GUEST := --package s3-connector
# A component for tests, which build it themselves.
HOSTILE := --package s3-connector-hostile
PYTHON ?= python3
READERS := target/readers
MOTO := target/moto
NODE_HOST := target/hosts/node
export RUSTDOCFLAGS := --deny warnings
# As in component/: the same sources give the same component.
export CONST_RANDOM_SEED := s3-connector
# Most cases wait for a store, a clock or a process: with one per core, half of the machine would be idle.
export RUST_TEST_THREADS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# A toolchain file alone does not add the target where the toolchain is already there.
.PHONY: setup
setup: ## Add what building needs to the Rust toolchain
	@rustup target list --installed | grep --quiet --line-regexp $(WASM) || rustup target add $(WASM)
	@rustup component list --installed | grep --quiet clippy || rustup component add clippy
	@rustup component list --installed | grep --quiet rustfmt || rustup component add rustfmt

# The command compiles its component into a file that the second build includes: it then starts at once, without a cache.
PROFILE ?= release
.PHONY: build
build: setup ## Build the command: target/release/s3-connector
	$(CARGO) build --locked --profile $(PROFILE) --package s3-connector-host
	target/$(PROFILE)/s3-connector compile target/$(PROFILE)/s3_connector.code
	$(CARGO) build --locked --profile $(PROFILE) --package s3-connector-host

.PHONY: start
start: build ## Check that the command as it is shipped starts within half a second, without a cache
	@tests/start.sh target/$(PROFILE)/s3-connector

.PHONY: dist
dist: setup ## Make what is published, in target/dist: binary, component, packages, lists of what is in them, checksums
	@PROFILE=$(PROFILE) packaging/dist.sh
	@tests/dist.sh target/dist

.PHONY: guest
guest: setup ## Build the component alone: target/component/s3_connector.wasm
	$(CARGO) run --locked $(TESTING) --quiet --package s3-connector-component

.PHONY: demo
demo: setup ## Run the connector's main job on an embedded S3 server, and check what it did
	$(CARGO) build --locked $(TESTING) --package s3-connector-host --package s3-connector-tests --bins
	@target/testing/demo

.PHONY: test
test: setup ## Run all tests that need no other server
	$(CARGO) build --locked $(TESTING) --workspace --bins
	env --unset AWS_ACCESS_KEY_ID $(CARGO) test --locked $(TESTING) --workspace

# The seeds follow from the time, so that every run sees others; the command prints them.
FROM := $(shell date +%s)
SEEDS ?= $(FROM)..$(shell expr $(FROM) + 50000)
.PHONY: histories
histories: setup ## Check 50,000 random histories of a bucket and a reader, or those of SEEDS=a..b
	$(CARGO) build --locked $(TESTING) --package s3-connector-histories
	target/testing/histories --seeds $(SEEDS)

.PHONY: mutants
mutants: setup ## Break change detection in each known way, and print which history notices
	$(CARGO) build --locked $(TESTING) --package s3-connector-histories
	target/testing/histories --mutants

FUZZ_SECONDS ?= 60
FUZZ ?= --seconds $(FUZZ_SECONDS)
.PHONY: fuzz
fuzz: setup ## Give random bytes to all that reads what others wrote, FUZZ_SECONDS=60 for each, two at a time
	$(CARGO) build --locked $(TESTING) --workspace --bins
	target/testing/fuzz $(FUZZ)

# What counts is a part of the compiler that a stable one has, too. Programs that run while others are built are not counted in.
COUNTED := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
MACHINE = $(shell rustc -vV | sed -n 's/host: //p')
LIBFUZZER := target/libfuzzer
SECONDS ?= 60
# What it takes of others is what is shipped, and one package more.
tests/fuzz/libfuzzer/Cargo.lock: Cargo.lock
	@cp $< $@

.PHONY: libfuzzer
libfuzzer: setup tests/fuzz/libfuzzer/Cargo.lock ## The same by libFuzzer, which follows the coverage: TARGET=position SECONDS=60, for long looks at one target
	@command -v c++ > /dev/null || { echo 'make libfuzzer: a C++ compiler is needed: on Debian, apt-get install g++' >&2; exit 2; }
	@[ -f 'tests/fuzz/libfuzzer/targets/$(TARGET).rs' ] || { \
		echo 'make libfuzzer: name a target, as in `make libfuzzer TARGET=position SECONDS=60`. There are:' >&2; \
		ls tests/fuzz/libfuzzer/targets | sed 's/^/  /; s/[.]rs$$//' >&2; exit 2; }
	RUSTFLAGS='$(COUNTED)' $(CARGO) build --release --manifest-path tests/fuzz/libfuzzer/Cargo.toml \
		--target-dir $(LIBFUZZER) --target $(MACHINE) --bin $(TARGET) $(if $(filter policy state-file,$(TARGET)),--features host)
	@mkdir -p $(LIBFUZZER)/corpora/$(TARGET)
	$(LIBFUZZER)/$(MACHINE)/release/$(TARGET) -max_total_time=$(SECONDS) -max_len=65536 -timeout=20 -rss_limit_mb=2048 \
		-print_final_stats=1 -dict=$(LIBFUZZER)/corpora/$(TARGET).dict -artifact_prefix=$(LIBFUZZER)/$(TARGET)- \
		$(LIBFUZZER)/corpora/$(TARGET) $(wildcard tests/fuzz/corpora/$(TARGET))

.PHONY: hostile
hostile: setup ## Attack the host beside a well-behaved neighbour: what stops each attack, and what speed the neighbour keeps
	$(CARGO) build --locked $(TESTING) --package s3-connector-host --package s3-connector-tests --bins
	@target/testing/hostile

.PHONY: page
page: setup ## Look at the page of --listen in a headless Chromium; leaves target/testing/page.png
	$(CARGO) build --locked $(TESTING) --workspace --bins
	@browser="$$(command -v chromium || command -v chromium-browser || command -v google-chrome)" \
		|| { echo "make page needs Chromium: install it" >&2; exit 1; }; \
	S3_CONNECTOR_CHROMIUM="$$browser" $(CARGO) test --locked $(TESTING) --package s3-connector-tests --test processes \
		-- --exact monitor::a_browser_shows_what_runs_and_runs_nothing_that_a_key_says

# A small disk is mounted in a namespace that no other process sees.
.PHONY: night
night: setup ## Show what an operator sees of a bad night: a store away for ten minutes, a full disk, and more
	$(CARGO) build --locked $(TESTING) --workspace --bins
	@S3_CONNECTOR_CHROMIUM="$$(command -v chromium || command -v chromium-browser || command -v google-chrome)" \
		unshare --map-root-user --mount target/testing/night

.PHONY: s3
s3: setup ## Run the conformance suite on a real S3 server: that of the AWS_* variables, or a MinIO that it installs
	@tests/s3/minio.sh $(CARGO) test --locked $(TESTING) --package s3-connector-tests --test conformance

.PHONY: moto
moto: setup $(MOTO)/requirements.txt ## Compare the embedded S3 server with moto, which it installs
	@tests/moto/run.sh $(MOTO)/bin/moto_server $(CARGO) test --locked $(TESTING) --package s3-connector-tests --test conformance

.PHONY: readers
readers: setup $(READERS)/requirements.txt ## Read what the destination writes with pyarrow and DuckDB, which it installs
	S3_CONNECTOR_PYTHON='$(CURDIR)/$(READERS)/bin/python' \
		$(CARGO) test --locked $(TESTING) --package s3-connector-tests --test readers

# A copy of the list says what was installed, once all of it was.
$(READERS)/requirements.txt $(MOTO)/requirements.txt: target/%/requirements.txt: tests/%/requirements.txt
	@command -v $(PYTHON) > /dev/null \
		|| { echo 'make $*: Python 3.11 or newer is needed: install it, or name it with PYTHON=' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(@D) \
		|| { echo "make $*: Python's venv is needed: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --requirement $< \
		|| { echo 'make $*: the packages of $< could not be installed; they need Python 3.11 or newer' >&2; exit 1; }
	@cp $< $@

.PHONY: hosts
hosts: setup guest $(NODE_HOST)/package-lock.json ## Run the component in Node, with packages that it installs from npm
	$(CARGO) build --locked $(TESTING) --workspace --bins
	@cp tests/hosts/node/*.mjs $(NODE_HOST)
	node $(NODE_HOST)/run.mjs target/component/s3_connector.wasm target/testing/embedded-s3

# As above: the copy of the lock says what was installed.
$(NODE_HOST)/package-lock.json: tests/hosts/node/package-lock.json tests/hosts/node/package.json
	@command -v node > /dev/null && command -v npm > /dev/null \
		|| { echo 'make hosts: Node 20 or newer and npm are needed: on Debian, apt-get install nodejs npm' >&2; exit 1; }
	@rm -rf $(NODE_HOST) && mkdir -p $(NODE_HOST)/.new && cp $^ $(NODE_HOST)/.new
	@cd $(NODE_HOST)/.new && npm ci --no-audit --no-fund --loglevel error
	@mv $(NODE_HOST)/.new/* $(NODE_HOST) && touch $@

# The checksum database lacks some of Conduit's modules; go.sum has them all.
.PHONY: conduit-client
conduit-client: setup ## Run the command as a plugin of Conduit, by the client with which Conduit itself launches plugins
	@command -v go > /dev/null || { echo 'make conduit-client: Go 1.25 or newer is needed: see https://go.dev/dl' >&2; exit 2; }
	$(CARGO) build --locked $(TESTING) --workspace --bins
	cd tests/conduit/client && GOFLAGS=-mod=readonly GONOSUMDB='github.com/conduitio/*' go build -o '$(CURDIR)/target/conduit-client' .
	target/conduit-client '$(CURDIR)/target/testing/s3-connector' '$(CURDIR)/target/testing/embedded-s3'

# A registry and a client of others. `tests/registry/run.sh` says what is done with them.
CRANE := github.com/google/go-containerregistry/cmd/crane@v0.22.1
target/tools/bin/crane:
	@command -v go > /dev/null || { echo 'make registry: Go 1.25 or newer is needed: see https://go.dev/dl' >&2; exit 2; }
	GOFLAGS= GOBIN='$(CURDIR)/target/tools/bin' go install $(CRANE)

.PHONY: registry
registry: setup target/tools/bin/crane ## Publish and fetch components with a registry and a client that are not ours, which it builds
	$(CARGO) build --locked $(TESTING) --workspace --bins
	@tests/registry/run.sh target/testing/s3-connector target/tools/bin/crane

# The Go connector is built as it was published, by its own list of versions.
GO_CONNECTOR := github.com/conduitio/conduit-connector-s3@v0.9.3
.PHONY: conduit-bench
conduit-bench: build ## Measure beside Conduit's Go connector, by the same client in the same run, with the goals
	@command -v go > /dev/null || { echo 'make conduit-bench: Go 1.25 or newer is needed: see https://go.dev/dl' >&2; exit 2; }
	$(CARGO) build --locked --release --package embedded-s3
	GOFLAGS= GONOSUMDB='github.com/conduitio/*' go mod download $(GO_CONNECTOR)
	GONOSUMDB='github.com/conduitio/*' go build -C "$$(go env GOMODCACHE)/$(GO_CONNECTOR)" -mod=readonly -buildvcs=false \
		-o '$(CURDIR)/target/conduit-go-connector' ./cmd/connector
	cd tests/conduit/client && GOFLAGS=-mod=readonly GONOSUMDB='github.com/conduitio/*' go build -o '$(CURDIR)/target/conduit-client' .
	target/conduit-client '$(CURDIR)/target/release/s3-connector' '$(CURDIR)/target/release/embedded-s3' \
		--beside '$(CURDIR)/target/conduit-go-connector'

.PHONY: conduit
conduit: setup ## Run the command as a plugin of a real Conduit, named by CONDUIT=/path/to/conduit
	@[ -x '$(CONDUIT)' ] && [ ! -d '$(CONDUIT)' ] || { \
		echo 'make conduit: name a Conduit, as in `make conduit CONDUIT=/path/to/conduit`. With Go, one is built by' >&2; \
		echo '  git clone https://github.com/ConduitIO/conduit && cd conduit && go build -o conduit ./cmd/conduit' >&2; \
		exit 2; }
	@command -v ps > /dev/null || { echo 'make conduit: ps is needed: on Debian, apt-get install procps' >&2; exit 2; }
	$(CARGO) build --locked $(TESTING) --workspace --bins
	S3_CONNECTOR_CONDUIT='$(abspath $(CONDUIT))' $(CARGO) test --locked $(TESTING) \
		--package s3-connector-host --package s3-connector-tests --test conduit -- --test-threads 4

# What only the component has, bindings.rs, component.rs and wasi.rs, is compiled for WebAssembly alone and not counted.
.PHONY: coverage
coverage: setup ## Print which lines of the connector's core no test reaches; each must be explained beside it
	@rustup component list --installed | grep --quiet llvm-tools || rustup component add llvm-tools
	@CARGO='$(CARGO)' tests/coverage/run.sh

# BENCH_KEYS, BENCH_SECONDS and BENCH_ONLY make the second one shorter: see tests/benches/scale.rs.
.PHONY: bench
bench: build ## Measure: in calm and bad weather beside other clients in the same run, and what a million keys cost
	$(CARGO) build --locked --release --package synthetic-s3
	cd tests/peers && $(CARGO) build --locked --release --target-dir '$(CURDIR)/target/peers'
	$(CARGO) bench --locked --package s3-connector-tests --bench speed
	$(CARGO) bench --locked --package s3-connector-tests --bench scale

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt --all

.PHONY: lint
lint: setup ## Look for mistakes, natively and in the component; warnings are errors
	$(CARGO) clippy --locked $(TESTING) --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --locked --profile component $(GUEST) $(HOSTILE) --lib --target $(WASM) --target-dir target/component -- --deny warnings
	@! $(CARGO) tree --locked $(GUEST) --target $(WASM) --edges normal --prefix none \
		| grep --extended-regexp '^(tokio|hyper|rustls|ring|aws-sigv4|socket2|mio|rayon) ' \
		|| { echo 'the component must not contain these'; exit 1; }

# The debug build takes two minutes of processor time to make, the other one far more, and both check within seconds.
DENY_VERSION := 0.20.2
DENY ?= $(or $(shell command -v cargo-deny),target/tools/bin/cargo-deny)
target/tools/bin/cargo-deny:
	$(CARGO) install --quiet --locked --debug --root target/tools --target-dir target/tools/build cargo-deny@$(DENY_VERSION)
	@rm -rf target/tools/build

.PHONY: deny
deny: $(DENY) ## Check licences, sources and known faults of the dependencies with cargo-deny, which it installs
	@packaging/deny.sh '$(DENY)'

.PHONY: tools
tools: setup $(DENY) target/tools/bin/crane $(READERS)/requirements.txt $(MOTO)/requirements.txt $(NODE_HOST)/package-lock.json ## Install what checks need of others
	@tests/s3/minio.sh

.PHONY: doc
doc: setup ## Build the documentation; broken links are errors
	$(CARGO) doc --locked $(TESTING) --workspace --no-deps

.PHONY: check
check: setup ## Everything that a change must pass
	$(CARGO) fmt --all --check
	$(MAKE) lint
	$(MAKE) test
	$(MAKE) doc
	$(MAKE) deny

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean

# Every recipe of the project; CI runs `make check`.

.DEFAULT_GOAL := help
CARGO := cargo

.PHONY: help
help: ## Says what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

.PHONY: run
run: ## The whole system in one process, without Redis
	$(CARGO) run --release

.PHONY: tools
tools: ## Installs what the tests need (Debian's packages), if it is not there
	@.ci/tools

.PHONY: test
test: tools ## Installs what the tests need and runs all tests: about 10 minutes once built
	@CARGO=$(CARGO) .ci/test all 600 --workspace --locked --lib --bins --tests

# Every crate's own tests, the store's contract on the embedded store, and what a
# whole system in one process answers.
QUICK := --lib --test contract --test dependencies --test documents --test accept \
  --test standalone --test resources --test openapi --test metrics --test origins --test page

.PHONY: test-quick
test-quick: ## What one edits against: under two minutes once built
	@CARGO=$(CARGO) .ci/test quick 75 --workspace --locked $(QUICK) -- --skip ::redis

.PHONY: lint
lint: ## Format and clippy, warnings denied
	$(CARGO) fmt --all --check
	# Fuzz targets are no member of the workspace; clippy looks at them where they are built.
	rustfmt --check --edition 2024 fuzz/src/lib.rs fuzz/fuzz_targets/*.rs
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	# Without Redis, as a first try is built; cluster-tests brings the features of the line above.
	$(CARGO) clippy -p standalone -p cluster-tests --locked -- -D warnings

.PHONY: docs
docs: ## The API's documentation, warnings denied
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

# With the features of the whole workspace, as tests build them: once for all.
PROGRAMS := $(CARGO) build --workspace --bins --locked

.PHONY: openapi-check
openapi-check: tools ## A running server against its own OpenAPI description: examples, two generated clients, schemathesis
	$(PROGRAMS)
	@.ci/openapi

# None of the pieces needs Redis.
COUNTED := $(CARGO) bench --profile instructions --locked -p gateway --no-default-features --bench instructions --

# How long the faults at random last: 24h when somebody asks for it.
DURATION := 2m

# Which seeds of the simulation.
SEEDS := 2000
FROM := 1

.PHONY: faults
faults: tools ## Breaks everything in turn while people write (half an hour), then at random for DURATION; writes docs/RELIABILITY.md
	$(PROGRAMS)
	target/debug/faults matrix --record docs/RELIABILITY.md
	target/debug/faults long --duration $(DURATION) --record docs/RELIABILITY.md

# How many are acknowledged in the end.
MESSAGES := 10000000

.PHONY: many
many: tools ## Sends MESSAGES by the thousand a second while processes die (an hour); writes docs/RELIABILITY.md
	$(CARGO) build $(OPTIMIZED) --locked --bins -p gateway -p router
	$(CARGO) run --release --locked -p cluster-tests --bin faults -- many --messages $(MESSAGES) --binaries $(dir $(MEASURE)) --record docs/RELIABILITY.md

.PHONY: simulate
simulate: ## Runs SEEDS seeds of the whole cluster in one deterministic process; writes its part of docs/RELIABILITY.md
	$(PROGRAMS)
	target/debug/simulate --seeds $(SEEDS) --from $(FROM) --record docs/RELIABILITY.md

.PHONY: simulate-defects
simulate-defects: ## Puts defects into a copy of the code, and looks whether the simulation finds each
	CARGO=$(CARGO) cluster-tests/simulation/find-defects $(SEEDS) docs/RELIABILITY.md

.PHONY: upgrade
upgrade: tools ## Upgrades clusters from an older commit to this one under load, process by process, and back (builds the older one once)
	$(PROGRAMS)
	@CARGO=$(CARGO) .ci/upgrade --record docs/RELIABILITY.md

# How long each fuzz target runs.
SECONDS_EACH := 60

.PHONY: fuzz
fuzz: ## Gives parsers what nobody would send (libFuzzer, SECONDS_EACH a target; the first build takes a quarter of an hour); writes docs/RELIABILITY.md
	$(PROGRAMS)
	CARGO=$(CARGO) fuzz/build
	target/debug/fuzz --programs fuzz/target/programs --seconds $(SECONDS_EACH) --record docs/RELIABILITY.md

.PHONY: instructions
instructions: tools ## Instructions of the hot pieces (callgrind); fails where they are over 10 % more than accepted
	$(COUNTED) --check

.PHONY: instructions-accept
instructions-accept: tools ## Accepts what the hot pieces need now (gateway/benches/instructions.txt)
	$(COUNTED) --accept

.PHONY: client
client: tools ## The JavaScript client and the page: lint, units, and Chromium against a real cluster
	$(PROGRAMS)
	cd clients/javascript && npm run lint && npm test && npm run e2e

.PHONY: conformance
conformance: ## The suites of protocol authors in FOLDER against the transports with an echo inside (.ci/conformance says which)
	.ci/conformance '$(FOLDER)'

.PHONY: check
check: tools ## All that CI runs; ends with what each step took
	@.ci/steps lint docs openapi-check deploy-lint client test

.PHONY: deny
deny: ## Licences, bans, sources and known weaknesses of all dependencies; installs cargo-deny and asks the network
	$(CARGO) deny --version > /dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check

.PHONY: bench
bench: ## Benchmarks of the hot pieces (criterion)
	$(CARGO) bench --workspace --locked --benches

# Programs as they are shipped, for figures that are kept.
OPTIMIZED := --profile dist
MEASURE := target/dist/loadtest

.PHONY: measured-programs
measured-programs: tools
	$(CARGO) build $(OPTIMIZED) --locked --bins -p loadtest -p gateway -p router

.PHONY: measure
measure: measured-programs ## Measures messages, transports, memory and storms (20 minutes), and writes docs/PERFORMANCE.md
	$(MEASURE) measure --binaries $(dir $(MEASURE)) --record .

.PHONY: versus
versus: measured-programs ## Measures Socket.IO, Socketioxide, Centrifugo and a bare relay beside it (two hours), and writes docs/PERFORMANCE.md
	$(MEASURE) versus --binaries $(dir $(MEASURE)) --record . --users 2000 --rates 5000,20000 --most 80000 \
		--subscribers 1000 --deliveries 20000 --members 20,200 --idle 4000 --storm 10000 --resume 2000

.PHONY: overload
overload: measured-programs ## Asks for ten times what can be done, lets 10,000 return and 1,000 be slow (eight minutes); writes docs/RELIABILITY.md
	$(MEASURE) overload --binaries $(dir $(MEASURE)) --record docs/RELIABILITY.md

.PHONY: install
install: ## Builds router, gateway and standalone as they are shipped and installs them (as `cargo install` does: ~/.cargo/bin)
	for program in router gateway standalone; do $(CARGO) install --locked --profile dist --features redis --path $$program || exit 1; done

.PHONY: dist
dist: ## What a release page has: static programs and images for x86-64 and arm64, SBOM, checksums (target/packages)
	@CARGO=$(CARGO) deploy/dist

.PHONY: deploy-lint
deploy-lint: ## Checks the compose file, configurations, dashboards and alerts (with their tests)
	deploy/test/check --without-chart

.PHONY: capacity
capacity: ## Writes the tables and simulations of docs/CAPACITY.md anew, from what was measured
	$(CARGO) run --profile profiling --locked -p loadtest -- simulate page

.PHONY: telemetry-cost
telemetry-cost: tools ## CPU per delivered message without telemetry, with metrics, and with 1 % of the messages traced
	$(CARGO) build --profile dist --locked --bins -p loadtest -p gateway -p router
	loadtest/telemetry/cost target/dist

.PHONY: deploy-check
deploy-check: ## The same, and the chart and the manifests (builds Helm once)
	deploy/test/check

.PHONY: deploy-dashboards
deploy-dashboards: ## Every query of dashboards and alerts against a cluster under load, a collector and Prometheus (builds the collector once)
	deploy/test/dashboards

.PHONY: deploy-test
deploy-test: deploy-check ## Builds the image and runs compose.yaml for real (as root, without a registry)
	deploy/test/run

.PHONY: deploy-api
deploy-api: ## Gives the chart and the manifests to a real Kubernetes API server (built once, slowly)
	deploy/test/apiserver

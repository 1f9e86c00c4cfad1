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
test: tools ## Installs what the tests need and runs all tests
	$(CARGO) test --workspace --locked --lib --bins --tests

.PHONY: lint
lint: ## Format and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

.PHONY: docs
docs: ## The API's documentation, warnings denied
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

.PHONY: openapi-check
openapi-check: tools ## A running server against its own OpenAPI description: examples, two generated clients, schemathesis
	$(CARGO) build --locked --bin standalone -p standalone
	@.ci/openapi

COUNTED := $(CARGO) bench --profile instructions --locked -p gateway --bench instructions --

.PHONY: instructions
instructions: tools ## Instructions of the hot pieces (callgrind); fails where they are over 10 % more than accepted
	$(COUNTED) --check

.PHONY: instructions-accept
instructions-accept: tools ## Accepts what the hot pieces need now (gateway/benches/instructions.txt)
	$(COUNTED) --accept

.PHONY: client
client: tools ## The JavaScript client and the page: lint, units, and Chromium against a real cluster
	$(CARGO) build --locked --bins -p gateway -p router -p standalone
	cd clients/javascript && npm run lint && npm test && npm run e2e

.PHONY: conformance
conformance: ## The suites of protocol authors in FOLDER against the transports with an echo inside (.ci/conformance says which)
	.ci/conformance '$(FOLDER)'

.PHONY: check
check: tools lint docs openapi-check instructions deploy-lint client test ## All that CI runs

.PHONY: bench
bench: ## Benchmarks of the hot pieces (criterion)
	$(CARGO) bench --workspace --locked --benches

# Optimized programs, for figures that are kept.
OPTIMIZED := --release
MEASURE := target/release/loadtest

.PHONY: measured-programs
measured-programs: tools
	$(CARGO) build $(OPTIMIZED) --locked --bins -p loadtest -p gateway -p router

.PHONY: measure
measure: measured-programs ## Measures messages, transports, memory and storms (20 minutes), and writes docs/PERFORMANCE.md
	$(MEASURE) measure --binaries $(dir $(MEASURE)) --record .

.PHONY: versus
versus: measured-programs ## Measures Socket.IO, Centrifugo and a bare relay beside it (an hour), and writes docs/PERFORMANCE.md
	$(MEASURE) versus --binaries $(dir $(MEASURE)) --record . --users 2000 --rates 5000,20000 --most 80000 \
		--subscribers 1000 --deliveries 20000 --members 200 --idle 4000 --storm 10000

.PHONY: deploy-lint
deploy-lint: ## Checks the compose file, configurations, dashboards and alerts (with their tests)
	deploy/test/check --without-chart

.PHONY: capacity
capacity: ## Writes the tables and simulations of docs/CAPACITY.md anew, from what was measured
	$(CARGO) run --profile profiling --locked -p loadtest -- simulate page

.PHONY: telemetry-cost
telemetry-cost: tools ## CPU per delivered message without telemetry, with metrics, and with 1 % of the messages traced
	$(CARGO) build --release --locked --bins -p loadtest -p gateway -p router
	loadtest/telemetry/cost target/release

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

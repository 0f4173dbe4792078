# Two commands matter: `make run` and `make test`. Both do all their set-up, and are quick the second time.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
RELEASE := target/release/errata
DEBUG := target/debug/errata

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: require-npm build ## set up and start the collector with its embedded ClickHouse
	@$(RELEASE) engine install >/dev/null
	@exec $(RELEASE) serve $(ARGS)

build: require-cargo
	@$(CARGO) build --release --locked

# Asked before the build, which takes minutes: `serve` needs npm once, to install the embedded engine.
require-npm:
	@command -v npm >/dev/null || [ -n "$$ERRATA_CLICKHOUSE__URL" ] || { [ -x $(RELEASE) ] && $(RELEASE) engine status >/dev/null 2>&1; } || { \
		echo "npm is missing, which fetches the embedded ClickHouse once: apt-get install npm (or set ERRATA_CLICKHOUSE__URL to a ClickHouse of yours)" >&2; exit 1; }

demo: build ## stream realistic traffic into the running collector
	@exec $(RELEASE) demo $(ARGS)

test: require-cargo ## set up and run every test
	@$(CARGO) build --locked
	@$(MAKE) --no-print-directory test-engine test-tools
	@suites='--lib --bins --tests'; $(DEBUG) engine status >/dev/null 2>&1 || suites='--lib --bins'; \
	if command -v cargo-nextest >/dev/null; then \
		exec $(CARGO) nextest run --locked $$suites $(ARGS); \
	else \
		echo "cargo-nextest is missing (cargo install cargo-nextest --locked); using cargo test"; \
		exec $(CARGO) test --locked $$suites $(ARGS); \
	fi

# The engine's suites need npm once, to install the engine; without it they are skipped, except in CI.
test-engine:
	@if $(DEBUG) engine status >/dev/null 2>&1; then :; \
	elif command -v npm >/dev/null; then $(DEBUG) engine install; \
	elif [ "$(CI)" = true ]; then echo "npm is missing: apt-get install npm" >&2; exit 1; \
	else printf '\n*** SKIPPED: every test that needs ClickHouse. npm is missing: apt-get install npm ***\n\n' >&2; fi

# Tests that use these skip their check without them, except in CI, where they fail.
test-tools:
	@command -v promtool >/dev/null || [ "$(CI)" = true ] || \
		printf '\n*** SKIPPED: the checks of metrics, rules and dashboards by promtool and Prometheus. Missing: apt-get install prometheus ***\n\n' >&2
	@command -v prometheus-alertmanager >/dev/null || [ "$(CI)" = true ] || \
		printf '\n*** SKIPPED: the tests with a real Alertmanager. It is missing: apt-get install prometheus-alertmanager ***\n\n' >&2
	@command -v chromium >/dev/null && command -v node >/dev/null || [ "$(CI)" = true ] || \
		printf '\n*** SKIPPED: the console in a real browser. Missing: apt-get install chromium nodejs npm ***\n\n' >&2
	@[ "$$(id -u)" = 0 ] && command -v strace >/dev/null && command -v mkfs.ext4 >/dev/null || [ "$(CI)" = true ] || \
		printf '\n*** SKIPPED: tests of power cuts, full disks and failing system calls. They need root, and: apt-get install strace e2fsprogs libfaketime ***\n\n' >&2

screenshots: require-cargo ## pictures of every page of the console in both themes, in target/screenshots, and the README's (needs Chromium)
	@command -v chromium >/dev/null || { echo "chromium is missing: apt-get install chromium" >&2; exit 1; }
	@$(CARGO) build --locked
	@$(MAKE) --no-print-directory test-engine
	@ERRATA_SCREENSHOTS="$$PWD/target/screenshots" $(CARGO) test --locked --test it console::browser $(ARGS)
	@mkdir -p docs/images && cp target/screenshots/readme/*.png docs/images/

# Some 25 minutes on two cores. The table at the end counts what was done, and the events acknowledged, lost and visible twice;
# a control must lose.
faults: require-cargo ## the fault matrix at length, with its counts (as root: all of it)
	@$(CARGO) build --locked
	@$(MAKE) --no-print-directory test-engine test-tools
	@rm -f target/faults.tsv
	@ERRATA_FAULTS=long ERRATA_FAULTS_REPORT="$$PWD/target/faults.tsv" sh -c ' \
		if command -v cargo-nextest >/dev/null; then $(CARGO) nextest run --locked --profile faults --test it faults:: $(ARGS); \
		else $(CARGO) test --locked --test it faults:: -- --test-threads 2 $(ARGS); fi'; ended=$$?; \
	{ printf 'row\tdone\tacknowledged\tlost\tvisible twice\n'; sort -n target/faults.tsv; } | column -t -s "$$(printf '\t')"; exit $$ended

# Some 30 minutes, nearly all of it waiting: five times as fast as it was, so that windows over request totals are whole minutes.
replay: require-cargo ## the captured incident, slowly, to Alertmanager and Prometheus, burn rates included
	@$(CARGO) build --locked
	@$(MAKE) --no-print-directory test-engine test-tools
	@if command -v cargo-nextest >/dev/null; then \
		ERRATA_REPLAY=long $(CARGO) nextest run --locked --profile replay --test it alerts::replayed $(ARGS); \
	else ERRATA_REPLAY=long $(CARGO) test --locked --test it alerts::replayed -- --nocapture $(ARGS); fi

# The defaults take some six minutes and 1 GB of memory for the events; BENCH_EVENTS=100000 BENCH_ROUNDS=1 for a glance.
bench: build ## load on the release binary, beside ClickHouse alone
	@$(RELEASE) engine install >/dev/null
	@$(CARGO) run --quiet --release --locked -p errata-load -- all --json target/bench.json $(ARGS)

bench-outage: build ## how a backlog drains after ClickHouse was away (BENCH_OUTAGE_SECONDS=60)
	@$(RELEASE) engine install >/dev/null
	@$(CARGO) run --quiet --release --locked -p errata-load -- outage --json target/bench-outage.json $(ARGS)

bench-recovery: build ## how soon a killed collector acknowledges again (BENCH_RECOVERY_GIB=1)
	@$(CARGO) run --quiet --release --locked -p errata-load -- recovery --json target/bench-recovery.json $(ARGS)

fuzz: require-cargo ## every fuzz target for FUZZ_SECONDS (60), from a seed of its own
	@ERRATA_FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(CARGO) test --release --locked --lib -- --nocapture fuzzing::seeded $(ARGS)

lint: require-cargo ## formatting, lints, documentation, dependencies
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	@$(MAKE) --no-print-directory deny

deny: ## licences, sources and banned crates of the dependencies
	@if command -v cargo-deny >/dev/null; then cargo-deny check bans licenses sources; \
	elif [ "$(CI)" = true ]; then echo "cargo-deny is missing: cargo install cargo-deny --locked" >&2; exit 1; \
	else echo "*** SKIPPED: cargo deny. Install it with: cargo install cargo-deny --locked ***" >&2; fi

require-cargo:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2; exit 1; }

.PHONY: help run build demo test screenshots faults replay test-engine test-tools bench bench-outage bench-recovery fuzz lint deny require-cargo require-npm

# Every way to work on Tandem. CI runs the same targets, nothing else.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Where rustup puts cargo, also in a shell that was opened before.
export PATH := $(HOME)/.cargo/bin:$(PATH)

# What `make run` runs, and with which further options: make run CONFIG=my.toml OPTIONS='--log json'
CONFIG ?= config/demo.toml
OPTIONS ?=

# How long each ledger of `make soak` is.
SECONDS_EACH ?= 600

##@ Use
.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n  make run CONFIG=my.toml OPTIONS="--log json"\n'

.PHONY: run
run: deps web ## Install what is missing, build, and run the demo (or CONFIG=file)
	cargo build --release --locked
	exec target/release/tandem run $(OPTIONS) $(CONFIG)

.PHONY: deps
deps: ## Install what is missing to build and run; says what and why first
	@scripts/deps.sh build run

##@ Prove
.PHONY: test
test: deps-test web players fmt-check clippy deny-if-there ## Run every test; ends with the test runner's summary
	@scripts/test.sh

.PHONY: check
check: deps web fmt-check clippy deny ## The quick rules: format, clippy, licences, layers
	cargo test --locked --test layering

.PHONY: soak
soak: deps-soak web ## The long runs, two and a half hours of real time: ledgers of 10 min, equal segments for 5 min, a minute a player; SECONDS_EACH=60 for a taste
	TANDEM_SOAK_SECONDS=$(SECONDS_EACH) cargo nextest run --locked --test e2e --run-ignored only --no-capture

.PHONY: fuzz
fuzz: deps ## Fuzz each parser for 60 s
	@scripts/fuzz.sh

.PHONY: bench
bench: deps-test web ## Measure against ffmpeg and nginx; each line `RESULT name=value …` is one figure
	cargo build --release --locked
	@scripts/bench.sh

.PHONY: bench-blocking bench-window
bench-blocking: deps-test web ## How soon 2,000 waiting LL-HLS clients have the next part; TANDEM_BENCH_CLIENTS=10000 for more
	@scripts/bench/blocking.sh

bench-window: deps-test web ## What publishing costs in windows of a minute to a day
	@scripts/bench/window.sh

.PHONY: bench-encode bench-determinism bench-latency bench-package bench-relay bench-srt-loss
bench-encode: deps-test web ## CPU of an encode process against ffmpeg, bare x264, and a warm pair
	@scripts/bench/encode.sh

bench-determinism: deps-test web ## Bits and CPU that equal bytes cost
	@scripts/bench/determinism.sh

bench-latency: deps-test web ## TS in to part out, stage by stage; on a quiet machine
	@scripts/bench/latency.sh

bench-package: deps-test web ## CPU of packaging alone against ffmpeg -c copy; channels a core carries
	@scripts/bench/package.sh

bench-relay: deps-test web ## CPU of 100 relayed sources against srt-live-transmit
	@scripts/bench/relay.sh

bench-srt-loss: deps-test web ## What SRT leaves unrecovered at 1 to 10 % loss, and its CPU, against srt-live-transmit
	@scripts/bench/srt-loss.sh

##@ Make
.PHONY: web
web: web/dist/index.html ## Build the page, which the binary carries

.PHONY: players
players: tests/players/node_modules/.package-lock.json ## Fetch the players the tests play the streams with

.PHONY: golden
golden: deps web ## Write the golden files anew; read the diff before you commit it
	TANDEM_GOLDEN=update cargo test --locked golden
	git diff --stat -- tests/golden

.PHONY: format
format: ## Format the source
	cargo fmt --all

# --- parts of the above ---

.PHONY: deps-test deps-soak fmt-check clippy deny deny-if-there
deps-soak: deps-test
	@scripts/deps.sh soak

deps-test:
	@scripts/deps.sh build run test

fmt-check:
	cargo fmt --all --check

clippy:
	cargo clippy --locked --all-targets -- -D warnings

# Advisories are left out: they need a database from the network, and would make yesterday's good commit fail today.
DENY := cargo deny --log-level error check licenses bans sources

deny:
	@command -v cargo-deny >/dev/null || { echo 'make: building cargo-deny, once; it checks licences of crates'; \
	  cargo install --locked --quiet cargo-deny; }
	$(DENY)

deny-if-there:
	@if command -v cargo-deny >/dev/null; then echo '$(DENY)'; $(DENY); \
	  else echo 'make: no cargo-deny here; `make check` installs it'; fi

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -print 2>/dev/null)
	cd web && npm run build
	touch $@

tests/players/node_modules/.package-lock.json: tests/players/package-lock.json
	cd tests/players && npm ci --no-audit --no-fund
	touch $@

# Everything people do with a clone of dcos-play. `make help` lists it.
#
# Only Rust (https://rustup.rs) and make have to be here before: each target installs what it needs and is missing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# A shell that was open while rustup was installed doesn't have cargo on its PATH yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
# Outside the clone, so that the next clone doesn't build all dependencies again.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dcos-play/target

.PHONY: help demo lab-down build setup test test-aws emulator oracle test-cluster lint bench generate install

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## Build, boot seven hosts on this machine and make a DC/OS cluster of them
	@scripts/setup.sh build lab
	@$(MAKE) build
	@scripts/demo.sh

lab-down: ## End the demo's hosts; nothing of them stays but the cached image
	@scripts/lab-down.sh

build: ## Build ./dcos-play; FEATURES=aws for AWS too (minutes, the first time)
	@cargo build --locked --bin dcos-play $(if $(FEATURES),--features $(FEATURES))
	@ln -sfn "$(abspath $(CARGO_TARGET_DIR))/debug/dcos-play" dcos-play

setup: ## Install what `demo`, `test`, `lint` and `bench` need and this machine lacks
	@scripts/setup.sh build lab test lint

test: ## Run all tests; those on real hosts need root
	@scripts/setup.sh build lab test
	@scripts/test.sh

test-aws: ## Run only the tests against an emulator of AWS; the first build of the AWS crates takes long
	@scripts/setup.sh build test
	@scripts/test.sh aws

emulator: ## Install the emulator of AWS that tests use, in the user's cache folder
	@scripts/setup.sh test
	@scripts/emulator.sh

oracle: ## Run the whole corpus with Ansible and with dcos-play, and write docs/compatibility.md
	@scripts/setup.sh build test
	@$(MAKE) build
	@for seed in 1 2 3 4 5 6 7 8 9 10; do tests/oracle/generated.py --bin ./dcos-play --seed $$seed -n 700 || exit 1; done
	@tests/oracle/facts.py --bin ./dcos-play
	@tests/oracle/run.py --bin ./dcos-play --table docs/compatibility.md

test-cluster: ## Upgrade, expand, replace and containers on a lab, for many minutes; ONLY=NAME runs those; needs root
	@scripts/setup.sh build lab test
	@scripts/cluster-tests.sh $(ONLY)

lint: ## Check format, lints, docs and generated files
	@scripts/setup.sh build lint
	@scripts/lint.sh

bench: ## Measure; BENCH=startup, shell_script, provision or scale takes one alone
	@scripts/setup.sh build lab
	@$(MAKE) build
	@scripts/bench.sh $(BENCH)

generate: ## Write the generated files anew
	@scripts/generate.sh

PREFIX ?= /usr/local
install: ## Build with full optimisation (minutes) and copy dcos-play to $(PREFIX)/bin; FEATURES=aws for AWS too
	@scripts/setup.sh build
	@cargo build --locked --release --bin dcos-play $(if $(FEATURES),--features $(FEATURES))
	@install -D -m 755 "$(CARGO_TARGET_DIR)/release/dcos-play" "$(DESTDIR)$(PREFIX)/bin/dcos-play"

SOAK ?= 10000
.PHONY: soak
soak: ## Run SOAK=10000 random playbooks in step and by need; they must end the same
	@scripts/setup.sh build test
	@DCOS_PLAY_SOAK=$(SOAK) cargo test --test soak -- --nocapture

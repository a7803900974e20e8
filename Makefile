# Everything that a developer or CI runs. `make` alone lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where `make up` publishes Kafka (its controller takes the next port) and
# PostgreSQL, on 127.0.0.1.
KAFKA_PORT ?= 19092
POSTGRES_PORT ?= 15432
export KAFKA_PORT POSTGRES_PORT

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STACK := deploy/local/stack
# Shared by all clones; the local stack keeps its downloads there as well.
CACHE ?= $(or $(DEVSTACK_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/persistor-devstack)
# Built from source, so that it is of the Go release it checks for.
LINT_VERSION := v2.15.0
LINT := $(CACHE)/golangci-lint-$(LINT_VERSION)-$(shell go env GOVERSION 2>/dev/null)
# The running servers' addresses, for every recipe that needs them.
ENV := source .devstack/env &&

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' Makefile

.PHONY: up
up: ## start Kafka and TimescaleDB on this machine, write .devstack/env
	@$(STACK) up

.PHONY: down
down: ## stop them; their data stays
	@$(STACK) down

.PHONY: reset
reset: ## stop them and remove their data
	@$(STACK) reset

.PHONY: go
go:
	@command -v go >/dev/null || { echo "make: 'go' is missing: install Go $$(sed -n 's/^go //p' go.mod) or newer" >&2; exit 1; }

.PHONY: build
build: go ## bin/persistor and bin/simexchange
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/persistor ./cmd/simexchange

.PHONY: lint
lint: go $(LINT) ## gofmt, go vet, golangci-lint; shellcheck and promtool where installed
	@unformatted=$$(gofmt -l .); [[ -z $$unformatted ]] || { echo "make: run gofmt -w on: $$unformatted" >&2; exit 1; }
	go vet ./...
	$(LINT) run
	@if command -v shellcheck >/dev/null; then shellcheck -x deploy/local/stack deploy/local/enter-tree deploy/local/demo.sh deploy/compose-smoke .ci/run; fi
	@if command -v promtool >/dev/null; then promtool check config deploy/prometheus/prometheus.yml && promtool test rules deploy/prometheus/alerts_test.yml; fi

# Made beside its place and moved, so that a broken build leaves nothing.
$(LINT):
	@echo 'make: building golangci-lint $(LINT_VERSION), some two minutes the first time' >&2
	@mkdir -p $(CACHE)
	@dir=$$(mktemp -d $(CACHE)/.golangci-lint.XXXXXX); trap 'rm -rf $$dir' EXIT; \
	  CGO_ENABLED=0 GOBIN=$$dir go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION); \
	  mv $$dir/golangci-lint $@

.PHONY: check
check: lint test ## what CI runs

.PHONY: test
# One package at a time: tests that freeze and kill have deadlines of their own.
# Never from the cache, which knows nothing of the servers.
test: go up ## every test, against the servers of `make up`
	$(ENV) go test -count=1 -p 1 -timeout 25m ./...

.PHONY: demo
demo: build up ## a simulated exchange into the daemon: rows, lag, audit
	@deploy/local/demo.sh

.PHONY: smoke
smoke: build ## docker-compose.yml brought up whole beside all else, looked at, and taken down
	@deploy/compose-smoke

.PHONY: bench
bench: build up ## the daemon beside the database's limit and psql; BENCH='-rounds 5' and so on
	$(ENV) go run ./cmd/bench $(BENCH)

.PHONY: crash
# The tests mostly wait for sessions to end, so more run at once than there are cores.
crash: go up ## kill, freeze and cut off the daemon some 300 times; half an hour
	$(ENV) PERSISTOR_CRASH=full go test -count=1 -timeout 90m -parallel 6 -v ./internal/crashtest
	$(ENV) PERSISTOR_CRASH=full go test -count=1 -timeout 30m -v -run 'TestKilled|TestRandomDamage' ./internal/replay

.PHONY: mutants
mutants: go up ## faults put in on purpose, each of which a crash test must find
	$(ENV) PERSISTOR_MUTANTS=all go test -count=1 -timeout 30m -v -run TestMutants ./internal/crashtest

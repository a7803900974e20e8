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

.PHONY: test
test: go up ## every test, against the servers of `make up`
	$(ENV) go test -timeout 20m ./...

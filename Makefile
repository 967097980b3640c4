# neural.platform: `make demo` brings the whole platform up on five lab servers, `make test` tests everything.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

include lab/lab.mk
include tests/tests.mk

.PHONY: help venv venv-dev
help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "%-18s %s\n", $$1, $$2}'

venv: $(VENV)/.runtime ## Make the virtual environment .venv with what the playbooks need

venv-dev: $(VENV)/.dev ## Add to .venv what the tests need

$(VENV)/.runtime: requirements.txt
	lab/python -m venv $(if $(wildcard $@),,--clear) $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

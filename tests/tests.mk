# What is tested, from fast to slow; `make test` is all of it.
PYTEST = $(BIN)/python -m pytest

.PHONY: test lint unit sanity installed app-test molecule e2e
test: lint unit sanity installed molecule e2e circuit-breaker app-test rolling-short resilience-short ## Run all tests (brings the lab up)
	@echo "All tests passed."

lint: venv-dev ## Check style, types, and that what is said twice is the same
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(addprefix collections/ansible_collections/neural/platform/plugins/,module_utils plugin_utils)
	$(BIN)/python tests/lint/argument_specs.py
	$(BIN)/antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self .
	$(BIN)/antsibull-changelog lint

unit: venv-dev ## Run the unit tests
	$(PYTEST) tests/unit

sanity: venv-dev ## Run ansible-test: sanity and units
	tests/ansible-test sanity
	tests/ansible-test units

installed: venv-dev ## Build the collection, install it elsewhere, and use it there
	tests/installed

molecule: venv-dev ## Converge single roles on fresh servers of both Debian releases
	@lab/engine
	set -euo pipefail; \
	MOLECULE_IMAGE_TRIXIE=$$(LAB_DEBIAN=trixie lab/image | tail -n 1); \
	MOLECULE_IMAGE_BOOKWORM=$$(LAB_DEBIAN=bookworm lab/image | tail -n 1); \
	export MOLECULE_IMAGE_TRIXIE MOLECULE_IMAGE_BOOKWORM MOLECULE_GLOB='molecule/*/molecule.yml'; \
	$(BIN)/molecule --base-config molecule/shared/base.yml test --all

e2e: venv-dev demo ## Bring the lab up and run the end-to-end tests on it
	$(PYTEST) tests/e2e

app-test: demo ## Run the application image's own tests
	images/neural-dsl/tests/run

.PHONY: rolling rolling-short
rolling: venv-dev demo ## Roll everything under load and make build/rolling/table.md (OPERATIONS='update or rollback')
	$(PYTEST) tests/rolling $(if $(OPERATIONS),-k 'test_operation and ($(OPERATIONS))')

rolling-short: venv-dev demo ## Run a few of these operations
	$(PYTEST) tests/rolling -m short

.PHONY: update-times
update-times: venv-dev demo ## Print how long updates of the application take without load, beside what they aim at
	$(BIN)/python tests/rolling/update_times.py

.PHONY: resilience resilience-short
resilience: venv-dev demo ## Run every failure drill and make build/resilience/index.html (ROUNDS=3, DRILLS='kill and not app3')
	$(PYTEST) tests/resilience --rounds $(or $(ROUNDS),1) $(if $(DRILLS),-k '$(DRILLS)')

resilience-short: venv-dev demo ## Run the few drills that the promise hangs on; times are shown, not limited
	$(PYTEST) tests/resilience -m short --times show

.PHONY: circuit-breaker
circuit-breaker: venv-dev demo ## Test the circuit breaker in three real HAProxies on loopback, of the lab's image
	set -euo pipefail; \
	image=$$(docker exec $(or $(LAB),lab)-app1 docker inspect --format '{{.Config.Image}}' neural-haproxy); \
	docker exec $(or $(LAB),lab)-app1 docker save "$$image" | docker load --quiet; \
	HAPROXY_IMAGE="$$image" $(PYTEST) tests/circuit_breaker

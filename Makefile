# Every target with one sentence; `make` prints them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
STAMP_APP := $(VENV)/.app-installed
STAMP_DEV := $(VENV)/.dev-installed

# A file of tests stays in one process: its servers are shared by its tests.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup run test test-unit test-integration laws simulation chaos check lint types imports snippets format docs build lock clean soak mutation bench

help: ## Print every target with a sentence.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|' 2>/dev/null \
		|| grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST)

$(BIN)/python:
	@echo "making a virtual environment in $(VENV)/"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say make PYTHON=python3.x")'
	@$(PYTHON) -m venv $(VENV)

$(STAMP_APP): requirements/app.txt pyproject.toml | $(BIN)/python
	@echo "installing what the service needs (locked, with hashes); this takes about half a minute"
	@$(PIP) install --require-hashes -r requirements/app.txt
	@$(PIP) install --require-hashes -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(STAMP_DEV): requirements/dev.txt $(STAMP_APP)
	@echo "installing what development needs (locked, with hashes); this takes about a minute"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

setup: $(STAMP_DEV) ## Put everything into .venv/, reproducing the lock.

run: $(STAMP_APP) ## Run API, demo shop, console and both simulators on loopback; Ctrl-C stops all of it.
	@exec $(BIN)/payments demo

test: setup ## Run every test: unit, laws, SQLite, a real PostgreSQL, HTTP, real processes, a browser where there is one.
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE)

bench: setup ## Race the webhook path and status reads against the floor on a PostgreSQL of its own; prints ratios.
	@$(BIN)/python bench/race.py

test-unit: setup ## Run the tests of the core and the laws, in a few minutes.
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/unit

test-integration: setup ## Run the tests that start databases, processes and servers.
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/integration

laws: setup ## Run the laws alone, and show how many interleavings were explored.
	@$(BIN)/python -m pytest tests/unit/laws -s

SEEDS ?= 1000
simulation: setup ## Live through SEEDS made-up worlds (1000), or show the one of SEED.
	@cd tests && ../$(BIN)/python -m unit.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(or $(FIRST),0))

PAYMENTS ?= 200
KILLS ?= 20
DATABASE ?= postgresql
GATEWAY ?= both
chaos: SEED ?= 1
chaos: setup ## Kill processes while orders are paid, and compare ledgers: make chaos PAYMENTS=200 KILLS=20 DATABASE=postgresql GATEWAY=both SEED=1.
	@PYTHONPATH=tests $(BIN)/python -m chaos --payments $(PAYMENTS) --kills $(KILLS) --database $(DATABASE) --gateway $(GATEWAY) --seed $(SEED)

soak: setup ## Run the tests of many at once with their full numbers: 100,000 writes, 10,000 races; hours on a small machine.
	@SOAK=1 $(BIN)/python -m pytest -s tests/unit/test_refresh.py tests/unit/test_return_money.py tests/integration/test_concurrency.py

mutation: setup ## Change the core in thousands of small ways and see which changes no test notices; takes a long while.
	@$(BIN)/python tests/mutation.py run
	@$(BIN)/python tests/mutation_report.py > docs/reference/mutation.md
	@grep -F '**all**' docs/reference/mutation.md

check: lint types imports snippets ## Run what CI runs beside the tests: ruff, mypy, import rules, docs snippets.

lint: setup ## Check style with ruff.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: setup ## Check types with mypy --strict.
	@$(BIN)/mypy
	@$(BIN)/mypy docs/generate.py examples

imports: setup ## Check that the arrows between packages point inward.
	@$(BIN)/lint-imports --no-cache

snippets: setup ## Run the examples in README and docs.
	@$(BIN)/python -m pytest -q tests/unit/test_snippets.py tests/unit/test_architecture.py

format: setup ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: setup ## Print the pages that are tables of the code.
	@$(BIN)/python docs/generate.py

build: setup ## Build the wheel and the source distribution into dist/.
	@$(BIN)/python -m build --no-isolation

lock: setup ## Compile requirements/*.txt anew from pyproject.toml (needs uv, installed here).
	@$(PIP) install "uv>=0.8"
	@for name in app build dev; do \
		case $$name in app) what="--extra app pyproject.toml";; build) what="--group build";; dev) what="--extra app --group dev pyproject.toml";; esac; \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
			--no-emit-index-url --no-emit-find-links $$what -o requirements/$$name.txt; \
	done

clean: ## Remove what was made here: the environment, caches, the demo.
	@rm -rf $(VENV) .demo .demo.lock .cache .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache dist build mutants

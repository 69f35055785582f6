# Every target sets up .venv by itself, from the locked versions in requirements.lock. PYTHON picks the interpreter.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BROWSER := .venv/.browser
ENGINES := .venv/.engines
JOBS ?= 2
# Tests start many Python processes, and pytest rewrites every test: each file is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check browser engines mutants chaos fuzz lint format types layers pictures docs bench setup clean help

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

setup: $(READY)  ## make .venv from the locked versions

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pdframe needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 demo")'
	@echo "Setting up .venv (once) ..."
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { echo "Python's venv module is missing (on Debian and Ubuntu: apt install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock hatchling editables
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --no-build-isolation --editable '.[dev]'
	@touch $(READY)

demo: $(READY)  ## a synthetic company, loaded, labelled and cached: what pdframe does, in a minute
	@$(BIN)/pdframe demo

test: $(READY)  ## a sample of every test file, in about four minutes
	PDFRAME_TIER=test $(BIN)/python -m pytest -n $(JOBS) --ignore=tests/resilience/chaos tests

check: $(READY) browser engines  ## every test, conformance, notebooks and docs
	PDFRAME_TIER=check $(BIN)/python -m pytest -n $(JOBS) --ignore=tests/resilience/chaos tests
	$(MAKE) --no-print-directory docs

browser: $(BROWSER)  ## what the tests in a browser need, besides chromium

$(BROWSER): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --no-build-isolation --editable '.[browser]' && touch $@ || echo "The tests in a browser are skipped."

engines: $(ENGINES)  ## what the tests in Spark, Tableau's engine and an S3 need, besides Java

# pyspark is built here, with setuptools. moto has an environment of its own: its client of AWS needs
# another python-dateutil.
$(ENGINES): $(READY) requirements-moto.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock setuptools wheel && $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --no-build-isolation --editable '.[engines]' && $(BIN)/python -m venv .venv/moto && .venv/moto/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-moto.lock && touch $@ || echo "Tests in some engines are skipped."

mutants: $(READY)  ## break the code in 30 places: `make test` must see each
	$(BIN)/python -m tests.mutants

chaos: $(READY)  ## longer random lives, more faults and simulations than `make test` has time for
	$(BIN)/python -m pytest -p no:xdist tests/resilience/chaos
	PDFRAME_LIFE_EXAMPLES=$${PDFRAME_LIFE_EXAMPLES:-300} $(BIN)/python -m pytest -n $(JOBS) tests/resilience/life
	PDFRAME_FAULTS=$${PDFRAME_FAULTS:-10} $(BIN)/python -m pytest -n $(JOBS) tests/resilience/faults
	PDFRAME_LOOKS=$${PDFRAME_LOOKS:-100} $(BIN)/python -m pytest -p no:xdist tests/http/history/test_visits_from_snapshots.py
	PDFRAME_HISTORIES=$${PDFRAME_HISTORIES:-30} $(BIN)/python -m pytest -n $(JOBS) tests/http/history/test_history_truth.py

fuzz: $(READY)  ## pages that a fuzzer makes up, ten minutes (FUZZ=seconds); atheris has wheels for Linux alone
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock atheris
	for list in persons stages deal_fields; do $(BIN)/python -m tests.resilience.chaos.fuzz $$list .hypothesis/fuzz/$$list $$(($${FUZZ:-600} / 3)) || exit 1; done

lint: $(READY) types layers  ## ruff, mypy strict, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

format: $(READY)  ## let ruff put the code in form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pictures: $(READY)  ## run the README's code and the gallery's; write pictures, outputs and llms.txt
	$(BIN)/python -m tests.helpers.readme
	$(BIN)/python -m tests.helpers.llms

docs: $(READY)  ## build docs/_build/html, warnings are errors, and check every link and resource of it
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --fresh-env -q -b html -d docs/_build/doctrees docs docs/_build/html
	$(BIN)/python docs/check_site.py docs/_build/html

bench: $(READY)  ## the figures that the README quotes, measured here and now
	$(BIN)/python -m tests.bench

clean:  ## forget .venv and the caches of the tools, never cache/
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

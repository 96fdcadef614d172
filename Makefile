# Each target sets itself up in .venv from nothing but Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all test-clients campaign lint check hooks dist format fixture screenshots clean

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aecompress needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

# The stamps are rewritten when what is to be installed changes. The demo needs the package and what it depends on;
# the checks need the dev extra, a gigabyte more.
.venv/installed: pyproject.toml setup.py constraints.txt | .venv/bin/python
	$(INSTALL) -e .
	touch $@

.venv/installed-dev: pyproject.toml setup.py constraints.txt | .venv/bin/python
	$(INSTALL) -e '.[dev]'
	touch .venv/installed $@

demo: .venv/installed
	$(BIN)/aecompress prune digits -o runs/demo --force --variants packed,int8

test: .venv/installed-dev
	$(BIN)/python -m pytest

test-all: .venv/installed-dev
	$(BIN)/python -m pytest -m 'slow or not slow'

# Every exported file in the runtimes that people have, in several versions each; the first call installs them.
test-clients: .venv/installed-dev
	$(BIN)/python -m tests.clients

# Killed runs, damaged files and odd input, with a seed that it prints; .ci/run has a short pass.
campaign: .venv/installed-dev
	$(BIN)/python -m tests.campaign --cases 1000

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

# Format, lint, types and import floors before each commit.
hooks: .venv/installed-dev
	$(BIN)/pre-commit install

# The release, as docs/release.md describes it: build both archives, install the wheel into a fresh environment, and run
# the README's main command from an empty folder, where the checkout cannot help.
dist: .venv/installed-dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(PYTHON) -m venv $$fresh/venv && \
	$$fresh/venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl && \
	mkdir $$fresh/empty && cd $$fresh/empty && \
	../venv/bin/aecompress prune digits --epochs 3 -o run && \
	../venv/bin/aecompress verify run/model/autoencoder.onnx run/model

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fixture: .venv/installed-dev
	$(BIN)/python -m tests.fixtures.remake

screenshots: .venv/installed-dev
	$(BIN)/python -m tests.tui.screenshots

clean:
	rm -rf .venv .venv-clients build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

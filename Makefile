# `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed
RECIPES := breast_cancer digits_cnn

.PHONY: install compiled demo test lint style types bench docs clean

install: compiled

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "titrant needs Python 3.11 or newer: $$($(PYTHON) --version 2>&1) is $(PYTHON); set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing: install the system package python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV) (one to three minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install --no-compile --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # pip would do it on one core
	@touch $@

# Where Python may not write bytecode by itself, every command would compile all that it imports.
compiled: $(STAMP)
	@$(BIN)/python -m compileall -q -j 0 schema compiler runtime recipes src

# In copies of their own, so that the locks that runs write are no change of the checkout.
demo: compiled
	@mkdir -p demo
	@for recipe in $(RECIPES); do \
	  test -f demo/$$recipe.yaml || $(BIN)/titrant recipes cp --quiet $$recipe demo/$$recipe.yaml || exit $$?; \
	  $(BIN)/titrant run demo/$$recipe.yaml || exit $$?; \
	done

lint: style types

style: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "run: ruff format ." >&2; exit 1; }

types: $(STAMP)
	@$(BIN)/mypy
	@$(BIN)/python docs/typed.py

# Types are checked beside the tests: alone it would leave all cores but one idle. What is wrong is printed after them.
test: compiled style
	@$(BIN)/mypy > $(VENV)/types.txt 2>&1 & mypy=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal; tests=$$?; \
	wait $$mypy; types=$$?; test $$types -eq 0 || cat $(VENV)/types.txt; \
	test $$tests -eq 0 || exit $$tests; exit $$types

bench: compiled
	@$(BIN)/python benchmarks/budgets.py

docs: $(STAMP)
	@$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) .titrant build demo dist src/*.egg-info

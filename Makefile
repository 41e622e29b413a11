# demo, test, test-slow, lint, bench: each builds .venv first, when it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed

.PHONY: demo test test-slow lint bench
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/spectra demo --out demo-output $(DEMO)

test: $(READY)
	$(BIN)/pytest -m "not slow" -n 2 $(TESTS)

test-slow: $(READY)
	$(BIN)/pytest -m slow $(TESTS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/pytest $(BENCH) benchmarks/bench_*.py

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or later is needed; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "Installing into .venv what constraints.txt pins (about 2 GB; a minute or a few) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[rnn,test,lint]'
	@touch $@
	@echo "Installed."

# make demo    the three actions against a local stand-in for Twilio; no account needed
# make test    ruff, mypy --strict and pytest
# make build   the package for a marketplace, its listing and its bill of materials, in dist/
# make bench   how fast, beside a bare loop and the official library; ratios of one run
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test build bench clean

demo: $(VENV)/ready
	@$(BIN)/python examples/demo.py

test: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --cov

build: $(VENV)/ready
	@$(BIN)/python build.py

bench: $(VENV)/ready
	@$(BIN)/python benchmarks/run.py --json bench.json

# The stamp depends on what decides the environment's contents, so a changed requirement reinstalls.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=23'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) dist build

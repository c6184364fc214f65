# make demo    the three actions against a local simulator of Twilio; no account needed
# make demo-temporal  two workers on a Temporal server, one killed in the middle of a send
# make test    ruff, mypy --strict, deptry and pytest
# make coverage  pytest again, half as long again: which lines ran; fails below 95 %
# make build   the package for a marketplace, its listing and its bill of materials, in dist/
# make soak    many cases at once, and many killed and resumed; minutes, not seconds
# make docs    the pages that come from the code, then the site in build/site
# make install-hooks  look at each commit from then on, with pre-commit
# make diagrams  the BPMN examples as SVG; needs npm and Chromium
# make gallery  the pictures of the listing, made of the real thing; needs Node.js and Chromium
# make bench   how fast, beside a bare loop and the official library; ratios of one run
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Where it is set, each of the hundreds of processes of the tests compiles its modules again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo demo-temporal test coverage build docs install-hooks bench soak diagrams gallery clean

demo: $(VENV)/ready
	@$(BIN)/python examples/demo.py

demo-temporal: $(VENV)/ready
	@PYTHONPATH=. $(BIN)/python examples/demo_temporal.py

# Four processes for two cores, because the tests also wait: with three, the cores were idle for a
# sixth of the time.
test: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry .
	$(BIN)/pytest -n 4 --dist worksteal

coverage: $(VENV)/ready
	$(BIN)/pytest -n 4 --dist worksteal --cov

build: $(VENV)/ready
	@$(BIN)/python build.py

docs: $(VENV)/ready
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/codes.py
	$(BIN)/mkdocs build --strict

install-hooks: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/pre-commit install

bench: $(VENV)/ready
	@PYTHONPATH=. $(BIN)/python benchmarks/run.py --json bench.json
	@PYTHONPATH=. $(BIN)/python benchmarks/engine.py --json bench-engine.json
	@PYTHONPATH=. $(BIN)/python benchmarks/temporal.py --json bench-temporal.json

# The stamp depends on what decides the environment's contents, so a changed requirement reinstalls.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=23'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

soak: $(VENV)/ready
	$(BIN)/python -m tests.engines.endurance
	$(BIN)/python -m tests.engines.temporal.endurance
	$(BIN)/python -m tests.faults.endurance
	$(BIN)/python -m tests.engines.proxy_endurance

diagrams: $(VENV)/ready
	npm install --silent --no-save --prefix build/diagrams bpmn-js@18
	$(BIN)/python examples/draw.py build/diagrams

gallery: $(VENV)/ready
	@$(BIN)/python examples/gallery.py

clean:
	rm -rf $(VENV) dist build

# Every target sets up what it needs; only Python 3.11+ is expected.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := celery,cli,embedded,demo
# How many files of tests run at a time. Most tests wait for a process or a clock, so a core can serve more than one.
JOBS ?= 3
PARALLEL = $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder)

.DEFAULT_GOAL := help
.PHONY: help venv demo test services check format bench peers chaos

help: ## show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# `--group` needs pip 25.1.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q -e '.[$(EXTRAS)]' --group dev $(if $(wildcard constraints.txt),-c constraints.txt)
	touch $@

venv: $(VENV)/.installed ## make the virtual environment

demo: $(VENV)/.installed ## a Celery order workflow, traced, on nothing but Python
	$(BIN)/otjobs demo

test: $(VENV)/.installed ## every test that this machine has the parts for (JOBS=1 for one at a time)
	$(BIN)/pytest $(PARALLEL) tests

services: $(VENV)/.installed ## the real parts: ClickHouse server, collector, Redis
	$(BIN)/python tools/services.py

check: $(VENV)/.installed ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed ## format in place
	$(BIN)/ruff format .

bench: $(VENV)/.installed ## the benchmarks (BENCH=--quick for short ones)
	for f in $$(grep -l __main__ bench/*.py); do $(BIN)/python $$f $(BENCH) || exit 1; done

peers: $(VENV)/.installed ## the suites of the libraries themselves, plain and instrumented (PEERS=--part for what CI runs)
	cd tools && ../$(BIN)/python -m peers $(PEERS)

chaos: $(VENV)/.installed ## the tests that kill workers, the collector and the embedded server
	$(BIN)/pytest $(PARALLEL) tests/integrations/celery_main tests/collector/test_pipeline.py tests/embedded/test_process.py tests/embedded/test_under_load.py tests/end_to_end

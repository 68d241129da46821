# make demo   everything, from two real models to the app      make app      the app on what there is
# make test   everything is checked                            make check    what needs no real model and no browser
# make bench  against floors and peers                         make package  a wheel, tried in an environment of its own
# make clean  the environments go, runs stay

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
TRIED := build/tried
# Processes that share the tests, each of one thread; more than four only wait for the longest file.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(4, len(os.sched_getaffinity(0))))")
# What the figures of `make bench` are kept as, in docs/performance/.
BUILD ?= $(shell git describe --always --dirty 2>/dev/null || echo here)
TESTS = $(RUN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 20

.PHONY: demo demo-data app test check bench package clean

demo: $(VENV)/.ready
	$(RUN) -m dfc demo

demo-data: $(VENV)/.ready
	$(RUN) -m dfc demo --no-app

app: $(VENV)/.ready
	$(RUN) -m dfc app

test: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(TESTS)

check: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(TESTS) -m "not real and not browser and not slow"

bench: $(VENV)/.ready
	for name in train align harvest index verify store app steer sweep rollouts e2e; do \
		$(RUN) -m dfc bench $$name --keep $(BUILD) || exit 1; done
	$(RUN) -m dfc performance

package: $(VENV)/.ready
	rm -rf dist $(TRIED)
	$(RUN) -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv $(TRIED)
	$(TRIED)/bin/python -m pip install --quiet dist/dfc-*.whl
	cd $(TRIED) && bin/python $(CURDIR)/tests/installed.py

# What is used is compiled when it is first imported: all that is installed would take longer than to install it.
$(VENV)/.ready: requirements.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'dfc needs Python 3.11 or newer; name one with PYTHON=...')"
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --no-compile --requirement requirements.txt
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt
	$(RUN) -m pip install --quiet --no-compile --requirement requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) build dist

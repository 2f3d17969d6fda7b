# Every target sets up .venv first where there is none; `make PYTHON=python3.12 test` picks another Python.
PYTHON ?= python3
ifeq ($(shell uname),Linux)
MUJOCO_GL ?= egl
export MUJOCO_GL
endif

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
# The lock holds for Python 3.11 to 3.13.
LOCK = $$($(RUN) -c 'import sys; print("--constraint=requirements.lock" if sys.version_info < (3, 14) else "")')
INSTALL = $(RUN) -m pip install --quiet --disable-pip-version-check $(LOCK)

.DEFAULT_GOAL := help
.PHONY: help demo demo-hil test check docs bench slow fault fuzz soak clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY)  ## warm up on demonstrations, then finish the training online, small enough for a laptop
	$(RUN) -m warmloop.launch.demo

demo-hil: $(READY)  ## the same on a simulated arm, with a teacher that takes over as a person would
	@$(RUN) -c 'import gym_hil' 2>/dev/null || { echo "Adding gym-hil to $(VENV)."; $(INSTALL) --editable '.[robotics]'; }
	$(RUN) -m warmloop.launch.demo_hil

test: $(READY)  ## run the tests that take minutes at most
	$(RUN) -m pytest -n 2 --dist loadfile

check: $(READY)  ## lint and check types
	$(RUN) -m ruff check
	$(RUN) -m pyright

docs: $(READY)  ## build the documentation site into build/site
	@$(RUN) -c 'import material, mkdocstrings' 2>/dev/null || { echo "Adding mkdocs to $(VENV)."; $(INSTALL) --editable '.[docs]'; }
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet --strict --clean
	@echo "The site is in build/site; open build/site/index.html."

bench: $(READY)  ## measure speed; set BENCH_PEERS to a Python that holds the peers to measure them too
	$(RUN) tests/benchmarks/run.py

slow: $(READY)  ## run the tests that train for minutes, and whole runs of several processes
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(RUN) -m pytest -n 2 --dist loadfile -m slow

fault: $(READY)  ## run the tests that kill and cut off real processes
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(RUN) -m pytest -m fault

fuzz: $(READY)  ## send the learner's port what it should refuse, for FUZZ_SECONDS (60)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(RUN) -m pytest tests/fuzz -s

soak: $(READY)  ## kill a learner and four actors at random for SOAK_SECONDS (3600)
	$(RUN) tests/soak.py

clean:  ## remove the virtual environment and every cache; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The link is for pyright, which cannot follow an editable install's import hook.
$(READY): setup.py requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("warmloop needs Python 3.11 or newer, and $(PYTHON) is %d.%d: try make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Setting up $(VENV): a few minutes, once."
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) --editable '.[simulators,dev]'
	@mkdir -p $(VENV)/source && ln -sfn ../.. $(VENV)/source/warmloop
	@touch $@
	@echo "$(VENV) is ready."

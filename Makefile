# Every target sets up .venv first where there is none; `make PYTHON=python3.12 test` picks another Python.
PYTHON ?= python3
ifeq ($(shell uname),Linux)
MUJOCO_GL ?= egl
export MUJOCO_GL
endif

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
TESTS := $(VENV)/.tests
BESIDE := $(VENV)/beside
# The lock holds for Python 3.11 to 3.13.
LOCK = $$($(RUN) -c 'import sys; print("--constraint=requirements.lock" if sys.version_info < (3, 14) else "")')
INSTALL = $(RUN) -m pip install --quiet --disable-pip-version-check $(LOCK)

.DEFAULT_GOAL := help
.PHONY: help demo demo-hil test beside check docs bench bench-gpu slow fault fuzz soak clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY)  ## warm up on demonstrations, then finish the training online, small enough for a laptop
	$(RUN) -m warmloop.launch.demo

demo-hil: $(READY)  ## the same on a simulated arm, with a teacher that takes over as a person would
	@$(RUN) -c 'import gym_hil' 2>/dev/null || { echo "Adding gym-hil to $(VENV)."; $(INSTALL) --editable '.[robotics]'; }
	$(RUN) -m warmloop.launch.demo_hil

test: $(TESTS)  ## run the default tests, a few minutes; .ci/run adds those marked long
	$(RUN) -m pytest -n 2 --dist loadfile $(TEST_OPTIONS)

beside: $(BESIDE)/.ready  ## add what the tests compare with, apart from .venv: Stable-Baselines3 with PyTorch, and NumPy 1

check: $(READY)  ## lint and check types
	$(RUN) -m ruff check
	$(RUN) -m pyright

docs: $(READY)  ## build the documentation site into build/site
	@$(RUN) -c 'import material, mkdocstrings' 2>/dev/null || { echo "Adding mkdocs to $(VENV)."; $(INSTALL) --editable '.[docs]'; }
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet --strict --clean
	@echo "The site is in build/site; open build/site/index.html."

bench: $(READY)  ## measure speed; set BENCH_PEERS to a Python that holds the peers to measure them too
	$(RUN) tests/benchmarks/run.py
	$(RUN) tests/benchmarks/start_up.py

bench-gpu: $(READY)  ## measure an accelerator in ten minutes; set BENCH_PEERS as for bench
	$(RUN) tests/benchmarks/gpu.py

slow: $(TESTS)  ## run the tests that train for minutes, and whole runs of several processes
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(RUN) -m pytest -n 2 --dist loadfile -m 'slow or long'

fault: $(TESTS)  ## run the tests that kill and cut off real processes
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(RUN) -m pytest -m fault

fuzz: $(TESTS)  ## send the learner's port what it should refuse, for FUZZ_SECONDS (60)
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

# What only tests use. Without a C compiler evdev is not built, which gym-hil and pynput need; the rest has wheels.
$(TESTS): $(READY)
	@echo "Adding the simulators and input devices that are tested."
	@$(INSTALL) --editable '.[robotics,teleop]' \
	  || { echo "gym-hil and pynput need a C compiler and the kernel's headers: without them, their tests are skipped."; \
       echo "To try again, remove $@."; $(INSTALL) pygame hidapi; }
	@command -v Xvfb > /dev/null || echo "Xvfb is not installed: the keyboard's tests are skipped. (Debian: apt-get install xvfb)"
	@command -v chromium > /dev/null || echo "Chromium is not installed: the page's tests in a browser are skipped. (Debian: apt-get install chromium)"
	@touch $@

# PyTorch comes first, since the newest may be too new. The .pth file lets pip see, and not install again, what .venv has.
$(BESIDE)/.ready: $(TESTS)
	@echo "Adding Stable-Baselines3, PyTorch and NumPy 1 in $(BESIDE)."
	@$(RUN) -m venv --without-pip --clear $(BESIDE)/numpy1
	@$(RUN) -m pip --python $(BESIDE)/numpy1/bin/python install --quiet --disable-pip-version-check --only-binary numpy 'numpy<2' \
	  || { rm -r $(BESIDE)/numpy1; echo "NumPy 1 has no wheel for this Python: its test is skipped."; }
	@$(RUN) -m venv --without-pip --clear $(BESIDE)/sb3
	@$(RUN) -c 'import glob, sysconfig; \
	  open(glob.glob("$(BESIDE)/sb3/lib/python*/site-packages")[0] + "/project.pth", "w").write(sysconfig.get_path("purelib"))'
	@$(RUN) -m pip --python $(BESIDE)/sb3/bin/python install --quiet --disable-pip-version-check $(LOCK) \
	  torch==2.13.0 stable-baselines3==2.9.2
	@touch $@

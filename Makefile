# install · demo · test · test-guest · test-peers · lint · bench · bench-peers · clean
#
# Each is idempotent and quick when there is nothing to do. The engine needs root: what needs it calls sudo itself.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
# Under sudo nothing root-owned may be left in the work tree: caches go elsewhere.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=CI,NO_COLOR,DEMO_KEEP env \
  PYTHONPYCACHEPREFIX=/var/tmp/stackpy-pycache HYPOTHESIS_STORAGE_DIRECTORY=/var/tmp/stackpy-hypothesis)
INSTALLED := $(VENV)/.installed
PACKAGES := $(VENV)/.host-packages

.PHONY: install demo test test-guest test-peers lint bench bench-peers clean

install: $(INSTALLED)

$(PACKAGES): .ci/host-packages .ci/python
	@.ci/host-packages "$$(.ci/python)"
	@mkdir -p $(VENV) && touch $@

$(INSTALLED): pyproject.toml $(PACKAGES)
	@python=$$(.ci/python); \
	  [ -n "$$python" ] || { echo "error: no Python of at least 3.11 with venv on PATH" >&2; exit 1; }; \
	  [ -x $(BIN)/python ] || { echo "making $(VENV) with $$python"; "$$python" -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@# venv of Python 3.11 brings it along; nothing needs it, and its hook is a part of every start.
	@$(BIN)/python -m pip uninstall --quiet --disable-pip-version-check --yes setuptools 2>/dev/null
	@touch $@

demo: install
	@$(AS_ROOT) examples/quickstart/demo.sh

# Much of the time is waiting, so lanes run side by side; .ci/lanes.py says how. Its numbers are seconds that each may take.
test: install
	@$(AS_ROOT) $(BIN)/python .ci/lanes.py \
	  system=2400 $(BIN)/python -m pytest tests/system -- \
	  others=2400 $(BIN)/python -m pytest tests --ignore tests/system -- \
	  guest=2400 tests/guest/run.sh bookworm

# Linux 6.12, as the third lane of `test` does with 6.1: cgroup version 2 alone, in an emulated machine.
test-guest: install
	@$(AS_ROOT) tests/guest/run.sh trixie

# Dockerfiles with real compilers and package managers on a real Debian, built by podman, docker (where it is) and us.
test-peers: install
	@$(AS_ROOT) $(PYTEST) tests/real_bases.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	@$(AS_ROOT) $(BIN)/python -m benchmarks

bench-peers: install
	@$(AS_ROOT) $(BIN)/python -m benchmarks --install-peers

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

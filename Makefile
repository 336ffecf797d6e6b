# Everything happens inside this folder: the virtual environment in .venv, Airflow's homes in .airflow.
# A path with a space in it breaks make's own lists, so nothing here is absolute.
SHELL := /bin/sh
BOOTSTRAP_PYTHON ?= python3
PYTHON := .venv/bin/python
INSTALLED := .venv/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# Nothing is left outside this folder, not even what pip and uv would keep.
export PIP_NO_CACHE_DIR := 1
export UV_CACHE_DIR := .uv-cache
# The certificates of this machine, as pip takes them.
export UV_SYSTEM_CERTS := 1

# A virtual environment $(1) with what a lock $(2) pins. uv takes seconds for what takes pip most of a minute. It also
# compiles, or each of the processes that start side by side would do so.
define environment
@$(BOOTSTRAP_PYTHON) -m venv $(1)
@$(1)/bin/python -m pip install --quiet --require-hashes --requirement requirements-uv.lock
@$(1)/bin/uv pip install --quiet --compile-bytecode --python $(1)/bin/python --no-deps --require-hashes --requirements $(2)
@$(1)/bin/uv pip install --quiet --python $(1)/bin/python --no-deps --no-build-isolation --editable .
@touch $(1)/.installed
endef

.PHONY: help bootstrap setup demo docs test test-docs test-faults test-system test-matrix test-distributed test-browser test-clients pictures bench lint typecheck unit format lock build check-release test-wheel clean
.DEFAULT_GOAL := help

help: ## List what there is to make
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(INSTALLED) ## Make the virtual environment from the lock

bootstrap:
	@$(BOOTSTRAP_PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; name one: make BOOTSTRAP_PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'

$(INSTALLED): requirements.lock requirements-uv.lock pyproject.toml | bootstrap
	@echo "Making the virtual environment (half a minute, once)"
	$(call environment,.venv,requirements.lock)

demo: setup ## Send and wait on a real Airflow, against the sandbox
	@$(PYTHON) -m demo

# mypy beside the tests, which leave a processor half of the time.
test: lint ## The linters, mypy and the tests: before every commit (less than five minutes)
	@$(MAKE) --no-print-directory --jobs=2 typecheck unit

lint: setup ## ruff, and the arrows between the rooms
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@.venv/bin/lint-imports --no-logo --no-cache

typecheck: setup ## mypy --strict
	@$(PYTHON) -m mypy

# Four processes, each with an Airflow of its own: two cores are enough for them, as most of the tests wait most of the
# time. A file stays together: what its tests share is made once. tests/conftest.py puts the longest files first.
PARALLEL := --numprocesses 4 --dist loadfile --no-loadscope-reorder

unit: setup ## The tests alone, side by side; some of them in one process (make unit ARGS="-k sensor -x")
	@$(PYTHON) -m pytest $(if $(ARGS),$(ARGS),$(PARALLEL))

test-docs: setup ## Run the code of the documentation, the examples and the commands (two minutes; ARGS as above)
	@$(PYTHON) -m pytest tests/docs tests/example_dags tests/cli $(if $(ARGS),$(ARGS),$(PARALLEL))

test-faults: setup ## Kill batches, break their ledger's database, and send a megabyte everywhere (seven minutes; ARGS as above)
	@$(PYTHON) -m pytest tests/faults $(ARGS)

test-system: setup ## Kill, clear and hand over tasks on a real Airflow (a quarter of an hour; ARGS as above)
	@$(PYTHON) -m pytest tests/system $(ARGS)

# An environment for each cell in .venv-matrix, where nox's cache is, too; a Python is found by its name, such as
# python3.13, for which pyenv asks for its version.
test-matrix: setup ## The tests on all versions of Airflow and Python (make test-matrix CELLS="lowest 3.2-py3.12")
	@XDG_CACHE_HOME="$$PWD/.venv-matrix/cache" PYENV_VERSION=3.11:3.12:3.13 $(PYTHON) -m nox $(if $(CELLS),--session $(CELLS)) -- $(PARALLEL) $(ARGS)

DISTRIBUTED := .venv-distributed/bin/python

.venv-distributed/.installed: requirements-distributed.lock requirements-uv.lock pyproject.toml
	@echo "Making a virtual environment with what several workers need (half a minute, once)"
	$(call environment,.venv-distributed,requirements-distributed.lock)

# PostgreSQL and Redis are those of this machine; what it lacks is fetched from Debian's packages, and not installed.
test-distributed: .venv-distributed/.installed ## Campaigns over two Celery workers, one of which is killed (five minutes)
	@$(DISTRIBUTED) -m pytest tests/distributed $(ARGS)

BROWSER := .venv-browser/bin/python

.venv-browser/.installed: requirements-browser.lock requirements-uv.lock pyproject.toml
	@echo "Making a virtual environment with what steers a browser (half a minute, once)"
	$(call environment,.venv-browser,requirements-browser.lock)

# The browser is Debian's Chromium; where this machine lacks it, it is fetched and not installed.
test-browser: .venv-browser/.installed ## Airflow's own pages in a browser: the connection's form and test, tasks, the page (four minutes)
	@$(BROWSER) -m pytest tests/browser $(ARGS)

pictures: .venv-browser/.installed ## The same, and take the documentation's pictures anew
	@$(BROWSER) -m pytest tests/browser --pictures docs/pictures

CLIENTS := .venv-clients/bin/python

.venv-clients/.installed: requirements-clients.lock requirements-uv.lock pyproject.toml
	@echo "Making a virtual environment with other clients of Intercom (half a minute, once)"
	$(call environment,.venv-clients,requirements-clients.lock)

# Beside the environment, from the lock; without npm the tests that need it are skipped.
.venv-clients/npm/.installed: .venv-clients/.installed tests/clients/package-lock.json
	@mkdir -p .venv-clients/npm
	@cp tests/clients/package.json tests/clients/package-lock.json .venv-clients/npm/
	@if command -v npm >/dev/null; then npm ci --prefix .venv-clients/npm --silent --no-audit --no-fund; fi
	@touch $@

test-clients: .venv-clients/npm/.installed ## The sandbox with Intercom's own clients, Prism and schemathesis (two minutes)
	@$(CLIENTS) -m pytest tests/clients $(ARGS)

BENCH := .venv-bench/bin/python

.venv-bench/.installed: requirements-bench.lock requirements-uv.lock pyproject.toml
	@echo "Making a virtual environment with what this provider is compared with (half a minute, once)"
	$(call environment,.venv-bench,requirements-bench.lock)

bench: .venv-bench/.installed ## Compare with what one would write instead (half an hour; make bench ARGS="send reading")
	@$(BENCH) -m benchmarks $(ARGS)

DOCS := .venv-docs/bin/python

.venv-docs/.installed: requirements-docs.lock requirements-uv.lock pyproject.toml
	@echo "Making a virtual environment with what builds the site (half a minute, once)"
	$(call environment,.venv-docs,requirements-docs.lock)

# All pages anew: a page that is taken from the last run brings no warning.
docs: .venv-docs/.installed ## Build the documentation as a site, in build/site; a warning is an error (a quarter of a minute)
	@$(DOCS) -m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs build/site

format: setup ## Put the code into its form
	@$(PYTHON) -m ruff check --fix-only .
	@$(PYTHON) -m ruff format .

lock: setup ## Pin the newest versions that fit
	@.venv/bin/uv pip compile --group installer --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file requirements-uv.lock
	@.venv/bin/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file requirements.lock
	@.venv/bin/uv pip compile pyproject.toml --group airflow-3.1 --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file requirements-3.1.lock
	@.venv/bin/uv pip compile pyproject.toml --group airflow-3.2 --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file requirements-3.2.lock
	@.venv/bin/uv pip compile pyproject.toml --group distributed --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file requirements-distributed.lock
	@.venv/bin/uv pip compile pyproject.toml --group browser --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-package playwright --no-emit-package pyee --upgrade --quiet --output-file requirements-browser.lock
	@.venv/bin/uv pip compile pyproject.toml --group clients --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file requirements-clients.lock
	@.venv/bin/uv pip compile pyproject.toml --group bench --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file requirements-bench.lock
	@.venv/bin/uv pip compile pyproject.toml --group docs --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file requirements-docs.lock

build: setup ## Build the wheel and the source distribution
	@$(PYTHON) -m build --no-isolation

check-release: setup ## Whether a tag may be released (TAG=v1.2.3)
	@$(PYTHON) -m tools.release $(TAG)

test-wheel: build ## Send with the built wheel, from a fresh environment
	@$(PYTHON) -m tools.wheel

clean: ## Remove all that was made
	@rm -rf .venv .venv-matrix .venv-distributed .venv-browser .venv-clients .venv-bench .venv-docs .uv-cache .airflow build dist .mypy_cache .pytest_cache .ruff_cache

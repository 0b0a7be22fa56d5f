# The commands of this repository. `make` alone lists them; each installs what it needs into .venv, once.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
ARGS ?=
PIP_ARGS ?=
BIN := $(VENV)/bin

# Installed with --no-compile, so bytecode must be kept on first use or every start compiles torch again.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# mkdocs-material announces the future of mkdocs on every build; the versions are pinned here.
export NO_MKDOCS_2_WARNING := 1

# Progress bars for a person, silence for a log.
PIP := if [ -t 1 ]; then q=; else q=-qq; fi; $(BIN)/python -m pip install $$q --no-compile -c constraints.txt $(PIP_ARGS)

.PHONY: help demo test lint format docs serve claims systems bench clean
.DELETE_ON_ERROR:

help:  ## list these commands
	@grep -hE '^[a-z.]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

demo: $(VENV)/.stamp-run  ## label, train, test and audit a potential on ethanol: report.html in under 5 minutes
	$(BIN)/intertwine demo $(ARGS)

test: $(VENV)/.stamp-dev  ## the whole test suite (ARGS='-k linear' for a part of it)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations=15 $(ARGS)

lint: $(VENV)/.stamp-dev  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.stamp-dev  ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.stamp-dev  ## build the documentation into site/
	$(BIN)/mkdocs build --strict
	@echo "documentation: site/index.html"

serve: $(VENV)/.stamp-dev  ## the documentation on a local port, rebuilt as you write
	$(BIN)/mkdocs serve

claims: $(VENV)/.stamp-dev  ## a paper's experiment in full: make claims NAME=nequip (without NAME: list them)
	$(BIN)/python tools/run_claim.py $(NAME) $(ARGS)

systems: $(VENV)/.stamp-dev  ## write docs/systems.md anew from docs/results/*.json
	$(BIN)/python tools/systems.py

bench: $(VENV)/.stamp-dev  ## ours and the peers side by side, as ratios
	$(BIN)/intertwine bench $(ARGS)

clean:  ## remove what the commands above have made, .venv included
	rm -rf $(VENV) site build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV): $(VENV)/.stamp-run  ## the environment that the demo needs

# pip is the last thing that venv writes, so an environment without it was interrupted: start it again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("intertwine needs Python 3.11 or newer; \
	this is %d.%d. Name another one: make PYTHON=python3.12" % v[:2])'
	@$(PYTHON) -m venv --clear $(VENV) || { rm -f $(BIN)/pip; \
	echo "could not make a virtual environment: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }

$(VENV)/.stamp-run: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing torch and what a potential needs into $(VENV) (1.2 GB, half a minute on a fast line) ..."
	@$(PIP) hatchling editables
	@$(PIP) --no-build-isolation -e '.[all]'
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-run
	@echo "Installing the test, documentation and benchmark tools into $(VENV) ..."
	@$(PIP) --no-build-isolation -e '.[all,dev,docs,bench]'
	@touch $@

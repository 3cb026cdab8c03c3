# make train, make test: each sets up what it needs. TORCH_BACKEND=cpu installs torch's small build.
.PHONY: train test test-slow test-slurm test-lowest check notebooks dashboard lock setup bench gpu gpu-wheels clean
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv || echo $(BIN)/uv)
LOWEST := .venv-lowest
UV_LOWEST := $(shell command -v uv || echo $(LOWEST)/bin/uv)
BACKEND := $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND))

help:
	@grep -E '^# make|^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/^# //; s/:.*##/	/'

$(VENV)/.ready: requirements.lock pyproject.toml
	@command -v uv >/dev/null || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --compile-bytecode $(BACKEND) -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --editable .
	@touch $@

setup: $(VENV)/.ready ## install everything into .venv

train: $(VENV)/.ready ## train the embedded default: digits, about a minute
	$(BIN)/vitlab train experiment=digits_vit

test: $(VENV)/.ready ## run the tests, a process a core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-lowest: ## run the tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	@command -v uv >/dev/null || $(PYTHON) -m venv $(LOWEST)
	@command -v uv >/dev/null || $(LOWEST)/bin/python -m pip install --quiet uv
	@test -x $(LOWEST)/bin/python || $(UV_LOWEST) venv --quiet --python $(PYTHON) $(LOWEST)
	VIRTUAL_ENV=$(LOWEST) $(UV_LOWEST) pip install --quiet --compile-bytecode $(BACKEND) \
		--resolution lowest-direct --group dev --group bench --editable ".[hub,onnx,optuna,wandb,mlflow]"
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.ready ## run the long ones: the full count of kills, damages and variants
	$(BIN)/python -m pytest -m slow

test-slurm: $(VENV)/.ready ## run what needs SLURM, on one that it brings up here (Debian's packages, as root)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm -n 2 --dist loadfile tests/slurm

check: $(VENV)/.ready ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

notebooks: $(VENV)/.ready ## run the notebooks and keep them with their outputs in docs/notebooks/
	OMP_NUM_THREADS=1 $(BIN)/python notebooks/render.py

dashboard: $(VENV)/.ready ## open TensorBoard on outputs/
	$(BIN)/vitlab dashboard

bench: $(VENV)/.ready ## time vitlab against its peers; PARTS="training input --quick": some of it
	$(BIN)/python -m benchmarks $(PARTS)

GPU := .gpu
CARRIED := hydra-core omegaconf antlr4-python3-runtime beartype

gpu-wheels: $(VENV)/.ready ## gather what a GPU machine without a network lacks; IMAGES=FILE.zip: CIFAR-10 too
	@rm -rf $(GPU) && mkdir -p $(GPU)
	for name in $(CARRIED); do sed -n "s/^\($$name==[^ ;]*\).*/\1/p" requirements.lock; done > $(GPU)/wheels.txt
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir $(GPU) --requirement $(GPU)/wheels.txt
	$(if $(IMAGES),$(BIN)/python -m benchmarks.gpu.images $(IMAGES) $(GPU)/cifar10.npz)
	@du -sh $(GPU)

gpu: ## on a machine with a GPU: right, fast, good, in twelve minutes; GPU_OPTIONS="right --checks digits"
	$(PYTHON) -m pip install --quiet --no-index --no-deps --upgrade --target $(GPU)/site $(GPU)/*.whl
	PYTHONPATH=$(CURDIR)/src:$(CURDIR)/$(GPU)/site:$$PYTHONPATH $(PYTHON) -m benchmarks.gpu \
		$(if $(wildcard $(GPU)/cifar10.npz),--images $(GPU)/cifar10.npz) $(GPU_OPTIONS)

lock: ## pin the newest versions that pyproject.toml allows
	$(UV) pip compile --quiet --no-header --group dev --group bench --all-extras --universal \
		pyproject.toml -o requirements.lock

clean: ## remove the environment and caches
	rm -rf $(VENV) $(LOWEST) .pytest_cache .ruff_cache

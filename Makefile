# The table of contents for people: `make` alone prints it. Each target is what CI runs, too.

VENV ?= .venv
PYTHON ?= python3
TORCH_INDEX ?=

DATA ?= data/photos
experiment ?= quick
TRIALS ?= 20
RUN ?= runs/latest
VERSION ?= 1.1.0
ENGINES ?= openvino
PHOTO ?= photo.jpg
URL ?= http://127.0.0.1:8080/predictions/fruity

BIN = $(VENV)/bin
INSTALL_INPUTS = pyproject.toml requirements.lock scripts/prepare_venv.py scripts/torch_stand_in.py

.DEFAULT_GOAL = help
.PHONY: help setup serve predict train evaluate sweep profile prune archive default-archive test check format lock clean

help:  ## Print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo "  variables: DATA=$(DATA) experiment=$(experiment) RUN=$(RUN) VERSION=$(VERSION) PHOTO=$(PHOTO) URL=$(URL)"

setup: $(VENV)/.dev  ## Install everything for development (6 GB; `make serve` alone needs 0.5)
	@$(BIN)/python -m scripts.model_store

serve: $(VENV)/.serve  ## Serve the newest archive at http://127.0.0.1:8080 until Ctrl-C
	@$(BIN)/python -m scripts.serve

predict: $(VENV)/.serve  ## Ask the running server what is on PHOTO
	@$(BIN)/python -m scripts.predict $(PHOTO) --url $(URL)

train: $(VENV)/.train  ## Fine-tune on the photos of DATA (experiment=quick or full); writes runs/latest
	$(BIN)/python -m training.train data.source=$(DATA) experiment=$(experiment)

evaluate: $(VENV)/.train  ## Judge RUN on the photos of DATA, by the serving preprocessing
	$(BIN)/python -m training.evaluate $(RUN) $(DATA)

sweep: $(VENV)/.train  ## Search better settings for DATA: TRIALS runs with Optuna, resumable
	$(BIN)/python -m training.sweep finetune --trials $(TRIALS) data.source=$(DATA)

profile: $(VENV)/.train  ## Picture where a training step on DATA spends its time: the network or the loader
	$(BIN)/python -m training.profile data.source=$(DATA)

prune: $(VENV)/.train  ## Prune a fifth of RUN's filters, fine-tune, and report what it cost
	$(BIN)/python -m training.prune $(RUN) --amount 0.2

archive: $(VENV)/.train  ## Build build/fruity-VERSION.mar from RUN, for the ENGINES openvino, torch or both
	$(BIN)/python -m model_archive.build --run $(RUN) --version $(VERSION) --engines $(ENGINES)

default-archive: $(VENV)/.train  ## Rebuild the archive that is committed, after a change of handler/ or its labels
	$(BIN)/python -m scripts.default_archive

test: $(VENV)/.dev  ## Run all tests with coverage
	$(BIN)/pytest --cov

check: $(VENV)/.dev  ## Lint and check types
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

lock:  ## Pin the newest versions that pyproject.toml allows into requirements.lock
	rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/pip install '.[dev]'
	build/lock/bin/pip freeze --exclude fruity > requirements.lock && rm -rf build/lock

clean:  ## Remove what was built and cached; runs/, data/ and .venv stay
	rm -rf build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

# What an extra of pyproject.toml needs, installed once and again when these files change.
$(VENV)/.%: $(INSTALL_INPUTS)
	@$(PYTHON) scripts/prepare_venv.py $* --venv $(VENV) $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))
	@touch $@

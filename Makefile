# The table of contents for people: `make` alone prints it. Each target is what CI runs, too.

VENV ?= .venv
BENCH_VENV ?= .venv-bench
PYTHON ?= python3
TORCH_INDEX ?=

DATA ?= data/photos
experiment ?= quick
TRIALS ?= 20
RUN ?= runs/latest
VERSION ?= 1.1.0
ENGINES ?= openvino
REGISTRY ?= registry
ARCHIVE ?= build/fruity-$(VERSION).mar
SIGNING_KEY ?=
PUBLIC_KEY ?=
PRECISION ?= auto
MODEL_CONFIG ?=
PHOTO ?= photo.jpg
URL ?= http://127.0.0.1:8080/predictions/fruity
CONFIG ?= config.properties
SHADOW ?=
THRESHOLDS ?=
WORKERS ?= 2
SWAPS ?= 20
PRICE ?=

# Where to deploy to (docs/deploy.md)
PROJECT ?=
REGION ?= europe-west1
ZONE ?= $(REGION)-b
IMAGE ?= $(REGION)-docker.pkg.dev/$(PROJECT)/fruity/fruity:$(VERSION)
LOCAL_IMAGE ?= fruity:latest
API_KEYS ?=
DEVICE ?= cpu

BIN = $(VENV)/bin
CLOUD = --project=$(PROJECT) --image=$(IMAGE) --model-uri=$(REGISTRY)/$(VERSION)
VERIFY = $(if $(PUBLIC_KEY),--public-key $(PUBLIC_KEY))
# Whatever DRY_RUN says, if not 0: a typing error must not start a build.
PRINT = $(if $(filter-out 0,$(DRY_RUN)),@echo '$$')
EXTRA ?= dev
LOCK ?= requirements.lock
# Versions come from build/ unless a registry is named.
given = $(filter command line environment,$(origin $(1)))
# In quotes for the shell, and once more for Hydra: names of folders may hold anything.
escaped = $(subst ','\'',$(DATA))
SOURCE = 'data.source="$(escaped)"'
# Choices among training/conf/ that the command line names, as tracker=wandb.
CHOICES = $(foreach group,network augment recipe trainer tracker,$(if $(call given,$(group)),$(group)=$($(group))))
FROM = $(if $(call given,REGISTRY),--registry $(REGISTRY))
MEASURED = $(if $(call given,ARCHIVE),--archive $(ARCHIVE))
ROLLOUT_OPTIONS = $(FROM) $(VERIFY) $(if $(SHADOW),--shadow $(SHADOW)) $(if $(THRESHOLDS),--thresholds $(THRESHOLDS))
INSTALL_INPUTS = pyproject.toml requirements.lock scripts/prepare_venv.py serving/java.py serving/torch_shim.py

.DEFAULT_GOAL = help
.PHONY: help setup serve predict train evaluate sweep profile prune archive default-archive cloud-image deploy \
  restore-traffic gpu-vm api-page dry-runs keys publish fetch registry versions rollout rollback register promote unregister \
  scale image image-size image-test test check format lock bench bench-quick bench-anatomy bench-train bench-rollout \
  bench-container tune bench-lock cost clean

help:  ## Print this help
	@awk -F ':.*## ' '/^# --- / { print "\n" substr($$0, 7) } \
	  /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo "variables: DATA=$(DATA) experiment=$(experiment) RUN=$(RUN) VERSION=$(VERSION) PHOTO=$(PHOTO) URL=$(URL)"

# --- Serve

serve: $(VENV)/.$(if $(PUBLIC_KEY),registry,serve)  ## Serve what was promoted last, else the newest archive, until Ctrl-C
	@$(BIN)/python -m scripts.serve $(VERIFY) $(if $(MODEL_CONFIG),--config $(MODEL_CONFIG))

predict: $(VENV)/.serve  ## Ask the running server what is on PHOTO
	@$(BIN)/python -m scripts.predict $(PHOTO) --url $(URL)

# --- A model of your own

train: $(VENV)/.train  ## Fine-tune on the photos of DATA (experiment=quick, tracker=wandb, …); writes runs/latest
	$(BIN)/python -m training.train $(SOURCE) experiment=$(experiment) $(CHOICES)

evaluate: $(VENV)/.train  ## Judge RUN on the photos of DATA, by the serving preprocessing
	$(BIN)/python -m training.evaluate $(RUN) '$(escaped)'

sweep: $(VENV)/.train  ## Search better settings for DATA: TRIALS runs with Optuna, resumable
	$(BIN)/python -m training.sweep finetune --trials $(TRIALS) $(SOURCE) $(CHOICES)

profile: $(VENV)/.train  ## Picture where a training step on DATA spends its time: the network or the loader
	$(BIN)/python -m training.profile $(SOURCE) $(CHOICES)

prune: $(VENV)/.train  ## Prune a fifth of RUN's filters, fine-tune, and report what it cost
	$(BIN)/python -m training.prune $(RUN) --amount 0.2

archive: $(VENV)/.train  ## Build build/fruity-VERSION.mar from RUN: ENGINES, PRECISION, signed with SIGNING_KEY
	$(BIN)/python -m model_archive.build --run $(RUN) --version $(VERSION) --engines $(ENGINES) \
	  --precision $(PRECISION) $(if $(SIGNING_KEY),--signing-key $(SIGNING_KEY)) $(if $(MODEL_CONFIG),--config $(MODEL_CONFIG))
	@if grep -qs 'kind: wandb' $(RUN)/config.yaml; then $(BIN)/python -m training.track_archive $(RUN) $(VERSION); fi

default-archive: $(VENV)/.train  ## Rebuild the archive that is committed, after a change of handler/ or its labels
	$(BIN)/python -m scripts.default_archive

# --- Versions (docs/runbook.md)

keys: $(VENV)/.registry  ## Create fruity.key, which signs archives, and fruity.pub, which verifies them
	@$(BIN)/python -m scripts.keys

publish: $(VENV)/.registry  ## Publish ARCHIVE to REGISTRY, a folder or gs://bucket/prefix; a version never changes
	@$(BIN)/python -m scripts.registry publish --registry $(REGISTRY) $(VERIFY) $(ARCHIVE)

fetch: $(VENV)/.registry  ## Fetch VERSION from REGISTRY into build/, verified, with PUBLIC_KEY its signature too
	@$(BIN)/python -m scripts.registry fetch --registry $(REGISTRY) $(VERIFY) $(VERSION)

registry: $(VENV)/.registry  ## List the versions that REGISTRY holds
	@$(BIN)/python -m scripts.registry list --registry $(REGISTRY)

versions: $(VENV)/.registry  ## Show the running server's versions: default, way back, workers, queue, digest
	@$(BIN)/python -m scripts.versions list --config $(CONFIG)

rollout: $(VENV)/.registry  ## Bring VERSION to the running server: check, load beside, compare, promote, watch, drain
	@$(BIN)/python -m scripts.rollout $(VERSION) --config $(CONFIG) $(ROLLOUT_OPTIONS)

rollback: $(VENV)/.registry  ## Go back to the version before, or with VERSION=1.0.0 to that one
	@$(BIN)/python -m scripts.versions rollback --config $(CONFIG) $(if $(call given,VERSION),$(VERSION))

register: $(VENV)/.registry  ## Load VERSION beside the others, without sending anyone to it
	@$(BIN)/python -m scripts.versions register $(VERSION) --config $(CONFIG) $(FROM) $(VERIFY)

promote: $(VENV)/.registry  ## Let the registered VERSION answer, without any check
	@$(BIN)/python -m scripts.versions promote $(VERSION) --config $(CONFIG)

unregister: $(VENV)/.registry  ## Stop VERSION once it has no request left
	@$(BIN)/python -m scripts.versions unregister $(VERSION) --config $(CONFIG)

scale: $(VENV)/.registry  ## Let VERSION have WORKERS workers
	@$(BIN)/python -m scripts.versions scale $(VERSION) $(WORKERS) --config $(CONFIG)

# --- The container and the cloud (docs/container.md, docs/deploy.md)

image: $(VENV)/.registry  ## Build the serving LOCAL_IMAGE with the newest archive (DEVICE=cpu or cuda, CONTAINER=podman)
	@$(BIN)/python -m scripts.image build --image $(LOCAL_IMAGE) --device $(DEVICE)

image-size: $(VENV)/.registry  ## Say what each part of LOCAL_IMAGE weighs
	@$(BIN)/python -m scripts.image size --image $(LOCAL_IMAGE)

image-test: $(VENV)/.dev  ## Run LOCAL_IMAGE as on the internet, read-only and without capabilities: ask, attack, stop it
	IMAGE=$(LOCAL_IMAGE) $(BIN)/pytest tests/dockerfiles/test_image.py

cloud-image:  ## Build, push and scan IMAGE with Cloud Build in PROJECT; DRY_RUN=1 prints the command
	$(PRINT) gcloud builds submit --project=$(PROJECT) --region=$(REGION) --config=deploy/cloudbuild.yaml \
	  --substitutions=_IMAGE=$(IMAGE),_REVISION=$(shell git rev-parse HEAD)

deploy: $(VENV)/.serve  ## Deploy IMAGE with VERSION of REGISTRY to Cloud Run in PROJECT; DRY_RUN=1 prints the commands
	@$(BIN)/python -m scripts.cloud_run $(CLOUD) --region=$(REGION) --version=$(VERSION) \
	  --archive=build/fruity-$(VERSION).mar

restore-traffic: $(VENV)/.serve  ## Give the previous Cloud Run revision all traffic after a deployment was cut off
	@$(BIN)/python -m scripts.restore_traffic --project=$(PROJECT) --region=$(REGION)

gpu-vm: $(VENV)/.serve  ## Give IMAGE with VERSION of REGISTRY to the GPU VM in PROJECT; DRY_RUN=1 prints the commands
	@$(BIN)/python -m scripts.gpu_vm update $(CLOUD) --zone=$(ZONE) $(VERIFY) $(if $(API_KEYS),--api-keys $(API_KEYS))

# --- Develop (CONTRIBUTING.md)

setup: $(VENV)/.dev  ## Install everything for development (6 GB; `make serve` alone needs 0.5)
	@$(BIN)/python -m scripts.stage

test: $(VENV)/.dev  ## Run all tests with coverage
	$(BIN)/pytest --cov --numprocesses logical --maxprocesses 4 --dist loadfile

check: $(VENV)/.dev  ## Lint, check types, workflows, manifests, Dockerfiles and shell scripts
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" scripts/check_files.sh

format: $(VENV)/.dev  ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

lock:  ## Pin the newest versions that pyproject.toml allows into requirements.lock
	rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/pip install '.[$(EXTRA)]'
	build/lock/bin/pip freeze --exclude fruity > $(LOCK) && rm -rf build/lock

api-page: $(VENV)/.train  ## Write docs/openapi.yaml as a page, docs/api.html
	@$(BIN)/python -m scripts.api_page

dry-runs: $(VENV)/.serve  ## Write what DRY_RUN=1 prints into docs/deploy.md
	@$(BIN)/python -m scripts.dry_runs

clean:  ## Remove what was built and cached; runs/, data/ and .venv stay
	rm -rf build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

# --- Measure (docs/benchmarks.md)

bench: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.serve  ## Measure fruity, also ARCHIVE, against its peers (40 minutes)
	@$(BENCH_VENV)/bin/python -m benchmarks.bench $(MEASURED)

bench-quick: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.serve  ## The same in 5 minutes: one round, fewer loads
	@$(BENCH_VENV)/bin/python -m benchmarks.bench --quick $(MEASURED)

bench-anatomy: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.serve  ## Show where a photo's CPU time goes; writes build/bench
	@$(BENCH_VENV)/bin/python -m benchmarks.anatomy

bench-train: $(VENV)/.train  ## Measure fine-tuning on DATA against timm's own training loop; writes build/bench
	@$(BIN)/python -m benchmarks.train '$(escaped)'

bench-rollout: $(VENV)/.dev  ## Swap versions of the running server SWAPS times under load; count failures, plot latency
	@$(BIN)/python -m benchmarks.rollout --swaps $(SWAPS) --config $(CONFIG)

bench-container: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.serve  ## Measure the front and what is lost when workers die or SIGTERM comes
	@$(BENCH_VENV)/bin/python -m benchmarks.container

tune: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.serve  ## Find the best workers, threads and batches here; writes build/tune
	@$(BENCH_VENV)/bin/python -m benchmarks.tune $(MEASURED)

bench-lock:  ## Pin the newest versions of the benchmark's peers into benchmarks/requirements.lock
	@$(MAKE) lock EXTRA=bench LOCK=benchmarks/requirements.lock

cost: $(BENCH_VENV)/.bench  ## Write docs/cost.md from the last bench, at PRICE euros a vCPU-second
	@$(BENCH_VENV)/bin/python -m benchmarks.cost $(if $(PRICE),--price-per-vcpu-s $(PRICE))

# What an extra of pyproject.toml needs, installed once and again when these files change.
$(VENV)/.%: $(INSTALL_INPUTS)
	@$(PYTHON) -m scripts.prepare_venv $* --venv $(VENV) $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))
	@touch $@

# The peers contradict requirements.lock, and a torch beside it would slow fruity down: docs/decisions/0007.
$(BENCH_VENV)/.bench: $(INSTALL_INPUTS) benchmarks/requirements.lock
	@$(PYTHON) -m scripts.prepare_venv bench --venv $(BENCH_VENV) --lock benchmarks/requirements.lock \
	  $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))
	@touch $@

$(BENCH_VENV)/serve/.serve: $(INSTALL_INPUTS)
	@$(PYTHON) -m scripts.prepare_venv serve --venv $(BENCH_VENV)/serve
	@touch $@

# `make` alone lists the targets. CI runs the same ones.

# === What a caller may set, as in make predict PHOTO=banana.jpg

# The packages
VENV ?= .venv
BENCH_VENV ?= .venv-bench
PYTHON ?= python3
EXTRA ?= dev
LOCK ?= requirements.lock
TORCH_INDEX ?=

# Passed on to the command as it is: make train ARGS="recipe.epochs=3"
ARGS ?=

# Photos, training and runs; the names in small letters are choices among training/conf/
DATA ?= data/photos
CORRECTIONS ?=
INBOX ?=
experiment ?= quick
network ?=
augment ?=
recipe ?=
trainer ?=
tracker ?=
TRIALS ?= 20
AMOUNT ?= 0.3
RUN ?= runs/latest
RUNS ?=
RUN_ID ?=
DIGEST ?=

# Archives
VERSION ?=
ARCHIVE ?= build/fruity-$(NAMED).mar
ENGINES ?= openvino
PRECISION ?= auto
MODEL_CONFIG ?=
REGISTRY ?= registry
SIGNING_KEY ?=
PUBLIC_KEY ?=

# The running server, its versions and its log of predictions
URL ?= http://127.0.0.1:8080
CONFIG ?= config.properties
PHOTO ?= photo.jpg
WORKERS ?= 2
SHADOW ?=
THRESHOLDS ?=
LOG ?= build/predictions
WINDOW ?= 200
REPORT ?=
LOOP_THRESHOLDS ?=
YES ?=

# Scoring many photos
SRC ?=
DST ?=
FORMAT ?= parquet

# The container, and the target of a deployment (docs/deploy.md)
CONTAINER ?=
DEVICE ?= cpu
LOCAL_IMAGE ?= fruity:latest
PROJECT ?=
REGION ?= europe-west1
ZONE ?= $(REGION)-b
IMAGE ?= $(REGION)-docker.pkg.dev/$(PROJECT)/fruity/fruity:$(NAMED)
API_KEYS ?=
DRY_RUN ?=

# Benchmarks
MINUTES ?=
SWAPS ?= 20

# === What the targets share

# A variable that is not above would be ignored in silence, so it is an error.
known = SHELL $(shell sed -n 's/^\([A-Za-z_]*\) ?=.*/\1/p' $(firstword $(MAKEFILE_LIST)))
set = $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
unknown = $(strip $(filter-out $(known) MAKEFLAGS MFLAGS MAKEOVERRIDES,$(set)))
$(if $(unknown),$(error unknown variable $(firstword $(unknown)); values of the training configuration go into \
  ARGS, as in make train ARGS="recipe.epochs=3 network.size=96"))

# True if the caller set the variable $(1); its default does not count.
given = $(filter command line environment,$(origin $(1)))
# In quotes for the shell: file names may hold any character.
escaped = $(subst ','\'',$(1))
quoted = '$(escaped)'
# The same for Hydra, inside the shell's quotes.
hydra_quoted = "$(subst ",\",$(call escaped,$(1)))"
# The option --$(1) with the variable $(2), if that has a value.
option = $(if $($(2)),--$(1) $(call quoted,$($(2))))
# What an operator runs on a server in trouble installs nothing that is there, also if it is not the newest.
missing = $(if $(wildcard $(VENV)/.$(1)),,$(VENV)/.$(1))

BIN = $(VENV)/bin
# What acts on a version or an archive needs it named; only `make archive` has a default.
NAMED = $(or $(VERSION),$(error make $@ needs VERSION=…, as in make $@ VERSION=1.1.0))
BUILT = $(or $(VERSION),1.1.0)
RUN_NAMED = $(or $(RUN_ID),$(error make $@ needs RUN_ID=…, the name of the run's folder))
GIVEN_ARCHIVE = $(if $(call given,ARCHIVE),--archive $(call quoted,$(ARCHIVE)))
FROM = $(if $(call given,REGISTRY),--registry $(call quoted,$(REGISTRY)))
FROM_RUNS = $(call option,runs,RUNS)
SIGNED = $(call option,signing-key,SIGNING_KEY)
VERIFY = $(call option,public-key,PUBLIC_KEY)
FINISHED_RUNS = $(filter-out runs/latest,$(patsubst %/spec.json,%,$(wildcard runs/*/spec.json)))

# Hydra's overrides of a training: the choices among training/conf/ that the caller made, and ARGS.
groups = $(foreach group,network augment recipe trainer tracker,$(if $($(group)),$(group)=$($(group))))
SOURCE = 'data.source=$(call hydra_quoted,$(DATA))'
CORRECTED = $(if $(CORRECTIONS),'data.corrections=$(call hydra_quoted,$(CORRECTIONS))')
OVERRIDES = $(SOURCE) $(CORRECTED) $(if $(call given,experiment),experiment=$(experiment)) $(groups) $(ARGS)

# The packages for registries and signatures are installed once they are needed.
VERSIONS_VENV = $(call missing,$(if $(FROM)$(VERIFY),registry,serve))
ROLLOUT_OPTIONS = $(FROM) $(VERIFY) $(call option,shadow,SHADOW) $(call option,thresholds,THRESHOLDS)
LOGGED = $(if $(shell test -e $(call quoted,$(LOG)) && echo yes),--log $(call quoted,$(LOG)))
LOOP_OPTIONS = $(LOGGED) $(VERIFY) $(SIGNED) $(GIVEN_ARCHIVE) $(call option,shadow,SHADOW) \
  $(call option,rollout-thresholds,THRESHOLDS) $(call option,thresholds,LOOP_THRESHOLDS) \
  --config $(call quoted,$(CONFIG)) --experiment $(experiment)
# What served the photos of LOG: the archive that `make serve` and `make rollout` put there, unless another is named.
WATCHED = $(if $(call given,ARCHIVE)$(VERSION),$(ARCHIVE),build/model_store/fruity.mar)

CLOUD = --project=$(PROJECT) --image=$(IMAGE) --model-uri=$(REGISTRY)/$(NAMED)
# Any value but 0 is a dry run: a typing error must not start a build.
PRINT = $(if $(filter-out 0,$(DRY_RUN)),@echo '$$')

# Which extras an extra includes; pyproject.toml says the same.
INCLUDED_IN_registry = serve
INCLUDED_IN_train = registry monitor serve
INCLUDED_IN_monitor = serve
INCLUDED_IN_playground = serve
INCLUDED_IN_docs = serve
INCLUDED_IN_scale = registry serve
INCLUDED_IN_dev = train registry monitor playground docs scale serve
INSTALL_INPUTS = pyproject.toml requirements.lock scripts/prepare_venv.py serving/java.py serving/torch_shim.py

.DEFAULT_GOAL = help
.PHONY: help serve predict score playground train evaluate corrections sweep profile prune frontier archive default-archive \
  publish-run fetch-run set-release release-archive keys publish fetch registry ready versions rollout loop rollback register \
  promote unregister scale drift \
  image image-size image-test cloud-image deploy restore-traffic drift-job gpu-vm setup test coverage check format lock docs site screenshots clean bench \
  bench-quick bench-rollout bench-score bench-loop bench-drift bench-container bench-capacity bench-client fuzz chaos hostile hosts-test \
  soak

help:  ## Print this help
	@awk -F ':.*## ' '/^# --- / { print "\n" substr($$0, 7) } \
	  /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo "variables: DATA=$(DATA) experiment=$(experiment) RUN=$(RUN) VERSION=$(VERSION) PHOTO=$(PHOTO) URL=$(URL)"

# --- Serve

serve: $(VENV)/.$(if $(PUBLIC_KEY),registry,serve)  ## Serve the promoted version, else the newest in build/, else the default; or VERSION=2.0.0
	@$(BIN)/python -m scripts.serve $(call option,version,VERSION) $(VERIFY) $(call option,config,MODEL_CONFIG)

predict: $(VENV)/.serve  ## Ask the server at URL for the labels of PHOTO, a file, folder or pattern (ARGS="--out labels.csv")
	@PYTHONPATH=client $(BIN)/python -m fruity predict $(call quoted,$(PHOTO)) --url $(call quoted,$(URL)) $(ARGS)

score: $(VENV)/.scale  ## Score the photos of SRC (folder, manifest.csv, *.tar, gs://) into DST, FORMAT=parquet or jsonl; the same command resumes
	@$(BIN)/python -m scripts.score $(call quoted,$(SRC)) $(call quoted,$(DST)) --format $(FORMAT) $(GIVEN_ARCHIVE) $(VERIFY) $(ARGS)

playground: $(VENV)/.playground  ## Open a web page to try the server at URL: upload, paste, camera, heatmap, corrections
	@FRUITY_URL=$(call quoted,$(URL)) CORRECTIONS=$(call quoted,$(CORRECTIONS)) PYTHONPATH=.:client $(BIN)/streamlit run playground/app.py $(ARGS)

# --- A model of your own

train: $(VENV)/.train  ## Train on the photos of DATA, and CORRECTIONS (experiment=full, tracker=wandb, ARGS="recipe.epochs=3"); writes runs/latest
	$(BIN)/python -m training.train $(if $(call given,experiment),,experiment=$(experiment)) $(OVERRIDES)

evaluate: $(VENV)/.train  ## Evaluate RUN on the photos of DATA, by the serving preprocessing
	$(BIN)/python -m training.evaluate_run $(call quoted,$(RUN)) $(call quoted,$(DATA))

corrections: $(VENV)/.$(if $(filter gs://%,$(INBOX)),registry,serve)  ## Collect corrections of INBOX (a CSV, folder, gs://) into CORRECTIONS; show accuracy
	@$(BIN)/python -m monitoring.corrections $(call quoted,$(or $(CORRECTIONS),corrections)) $(call option,from,INBOX)

sweep: $(VENV)/.train  ## Search settings for DATA: TRIALS runs with Optuna, resumable
	$(BIN)/python -m training.sweep finetune --trials $(TRIALS) $(OVERRIDES)

profile: $(VENV)/.train  ## Plot where a training step on DATA spends its time: the network or the loader
	$(BIN)/python -m training.profile $(OVERRIDES)

prune: $(VENV)/.train  ## Remove AMOUNT of RUN's channels, fine-tune, report accuracy, size and speed; writes RUN-pruned-…
	$(BIN)/python -m training.prune $(call quoted,$(RUN)) --amount $(AMOUNT)

archive: $(VENV)/.train  ## Build build/fruity-VERSION.mar (default: 1.1.0) from RUN: ENGINES, PRECISION, signed with SIGNING_KEY
	$(BIN)/python -m model_archive.build --run $(call quoted,$(RUN)) --version $(call quoted,$(BUILT)) --engines $(ENGINES) \
	  --precision $(PRECISION) $(SIGNED) $(call option,config,MODEL_CONFIG)
	@if grep -qs 'kind: wandb' $(call quoted,$(RUN)/config.yaml); then $(BIN)/python -m training.trackers $(call quoted,$(RUN)) $(call quoted,$(BUILT)); fi

frontier: $(VENV)/.train  ## Plot accuracy over CPU time, in float and int8, of all runs or RUN="runs/a runs/b"; writes build/frontier
	$(BIN)/python -m model_archive.frontier $(if $(call given,RUN),$(RUN),$(FINISHED_RUNS))

default-archive: $(VENV)/.train  ## Rebuild the committed archives after a change of handler/
	$(BIN)/python -m scripts.default_archive

# --- Runs and releases (docs/deploy.md)

publish-run: $(VENV)/.train  ## Publish RUN to RUNS, a folder or gs://bucket/prefix (default: release.toml's); it never changes
	@$(BIN)/python -m scripts.runs publish $(FROM_RUNS) $(call quoted,$(RUN))

fetch-run: $(VENV)/.train  ## Fetch the run RUN_ID from RUNS into runs/, verified, with DIGEST only if it has that digest
	@$(BIN)/python -m scripts.runs fetch $(FROM_RUNS) $(call option,digest,DIGEST) $(RUN_NAMED)

set-release: $(VENV)/.train  ## Name RUN in model_archive/release.toml: the release VERSION is made of it
	@$(BIN)/python -m scripts.runs name $(call quoted,$(RUN)) $(call quoted,$(NAMED))

release-archive: $(VENV)/.train  ## Build the archive of release.toml's run, from RUNS: int8, with SIGNING_KEY signed, to REGISTRY
	@$(BIN)/python -m scripts.release_archive $(FROM_RUNS) $(FROM) $(SIGNED)

# --- Versions (docs/runbook.md)

keys: $(VENV)/.registry  ## Create fruity.key, which signs archives, and fruity.pub, which verifies them
	@$(BIN)/python -m scripts.keys

publish: $(VENV)/.registry  ## Publish ARCHIVE to REGISTRY, a folder or gs://bucket/prefix; a version never changes
	@$(BIN)/python -m scripts.archives publish --registry $(call quoted,$(REGISTRY)) $(VERIFY) $(call quoted,$(ARCHIVE)) \
	  $(call option,version,VERSION)

fetch: $(VENV)/.registry  ## Fetch VERSION from REGISTRY into build/, verified, with PUBLIC_KEY its signature too
	@$(BIN)/python -m scripts.archives fetch --registry $(call quoted,$(REGISTRY)) $(VERIFY) $(call quoted,$(NAMED))

registry: $(VENV)/.registry  ## List the versions that REGISTRY holds
	@$(BIN)/python -m scripts.archives list --registry $(call quoted,$(REGISTRY))

ready: $(call missing,serve)  ## Say whether the running server labels its golden sample right, else why not and fail
	@$(BIN)/python -m scripts.versions ready --config $(call quoted,$(CONFIG))

versions: $(call missing,serve)  ## Show the running server's versions: role, workers, queue, digest
	@$(BIN)/python -m scripts.versions list --config $(call quoted,$(CONFIG))

rollout: $(VERSIONS_VENV)  ## Bring VERSION to the running server: check, compare, promote, watch, drain (ARGS=--keep)
	@$(BIN)/python -m scripts.rollout $(call quoted,$(NAMED)) --config $(call quoted,$(CONFIG)) $(ROLLOUT_OPTIONS) $(ARGS)

loop: $(VENV)/.train  ## Bring the next version after drift in LOG or enough CORRECTIONS: train with DATA, compare, roll out (YES=1)
	@$(BIN)/python -m scripts.loop $(call quoted,$(DATA)) $(call quoted,$(or $(CORRECTIONS),corrections)) $(LOOP_OPTIONS) $(groups) $(ARGS)

drift: $(VENV)/.monitor  ## Say whether the photos of LOG have drifted from the training of ARCHIVE (default: the one that serves), with REPORT=drift.html
	@$(BIN)/python -m monitoring.drift --archive $(call quoted,$(WATCHED)) --log $(call quoted,$(LOG)) \
	  --window $(WINDOW) $(call option,report,REPORT)

rollback: $(VERSIONS_VENV)  ## Go back to the version before, or with VERSION=1.0.0 to that one
	@$(BIN)/python -m scripts.versions rollback --config $(call quoted,$(CONFIG)) $(if $(VERSION),$(call quoted,$(VERSION))) $(ARGS)

register: $(VERSIONS_VENV)  ## Load VERSION beside the others; it gets no requests yet
	@$(BIN)/python -m scripts.versions register $(call quoted,$(NAMED)) --config $(call quoted,$(CONFIG)) $(FROM) $(VERIFY)

promote: $(VERSIONS_VENV)  ## Make the registered VERSION the default, without any check
	@$(BIN)/python -m scripts.versions promote $(call quoted,$(NAMED)) --config $(call quoted,$(CONFIG))

unregister: $(VERSIONS_VENV)  ## Stop VERSION once it has no request left, with ARGS=--now at once
	@$(BIN)/python -m scripts.versions unregister $(call quoted,$(NAMED)) --config $(call quoted,$(CONFIG)) $(ARGS)

scale: $(VERSIONS_VENV)  ## Give VERSION that many WORKERS, fewer with ARGS=--now
	@$(BIN)/python -m scripts.versions scale $(call quoted,$(NAMED)) $(call quoted,$(WORKERS)) --config $(call quoted,$(CONFIG)) $(ARGS)

# --- The container and the cloud (docs/container.md, docs/deploy.md)

image: $(VENV)/.registry  ## Build the serving LOCAL_IMAGE with the newest archive (DEVICE=cpu or cuda, CONTAINER=podman)
	@$(BIN)/python -m scripts.image build --image $(call quoted,$(LOCAL_IMAGE)) --device $(DEVICE)

image-size: $(VENV)/.registry  ## Print the size of each part of LOCAL_IMAGE
	@$(BIN)/python -m scripts.image size --image $(call quoted,$(LOCAL_IMAGE))

image-test: $(VENV)/.dev  ## Test LOCAL_IMAGE read-only and without capabilities: answers, attacks, shutdown
	IMAGE=$(call quoted,$(LOCAL_IMAGE)) $(BIN)/pytest tests/dockerfiles/test_image.py

cloud-image:  ## Build, push and scan IMAGE with Cloud Build in PROJECT; DRY_RUN=1 prints the command
	$(PRINT) gcloud builds submit --project=$(PROJECT) --region=$(REGION) --config=deploy/cloudbuild.yaml \
	  --substitutions=_IMAGE=$(IMAGE),_REVISION=$(shell git rev-parse HEAD)

deploy: $(VENV)/.serve  ## Deploy IMAGE with VERSION of REGISTRY to Cloud Run in PROJECT; DRY_RUN=1 prints the commands
	@$(BIN)/python -m scripts.cloud_run $(CLOUD) --region=$(REGION) --version=$(NAMED) \
	  --archive=build/fruity-$(NAMED).mar

restore-traffic: $(VENV)/.serve  ## Restore the traffic split of before a deployment to Cloud Run that was cut off
	@$(BIN)/python -m scripts.restore_traffic --project=$(PROJECT) --region=$(REGION)

drift-job: $(VENV)/.serve  ## Run make drift every hour in PROJECT, with the training IMAGE, ARCHIVE and LOG in buckets; DRY_RUN=1 prints
	@$(BIN)/python -m scripts.drift_job --project=$(PROJECT) --region=$(REGION) --image=$(IMAGE) \
	  --archive=$(call quoted,$(ARCHIVE)) --log=$(call quoted,$(LOG))

gpu-vm: $(VENV)/.serve  ## Deploy IMAGE with VERSION of REGISTRY to the GPU VM in PROJECT; DRY_RUN=1 prints the commands
	@$(BIN)/python -m scripts.gpu_vm update $(CLOUD) --zone=$(ZONE) $(VERIFY) $(call option,api-keys,API_KEYS)

# --- Develop (CONTRIBUTING.md)

setup: $(VENV)/.dev  ## Install everything for development (6 GB; `make serve` alone needs 0.5)
	@$(BIN)/python -m scripts.serve --stage-only

# One thread of torch each: the tests keep all cores busy, and a second one waits for its turn in a loop. Many tests wait
# for a server, so there is a process more than cores. Some call make, which must not get these ARGS.
test: $(VENV)/.dev  ## Run all tests; print the ten slowest and what was skipped
	env -u MAKEFLAGS -u ARGS OMP_NUM_THREADS=1 PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$(getconf _NPROCESSORS_ONLN) + 1)) \
	  $(BIN)/pytest -m "not hosts" --durations 10 --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

coverage:  ## Run all tests, and fail where they cover less than 95 % of the lines and branches
	@$(MAKE) test ARGS='--cov $(ARGS)'

check: $(VENV)/.dev  ## Lint, check types, import rules, workflows, manifests, Dockerfiles and shell scripts
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	PYTHONPATH=client $(BIN)/lint-imports --no-cache --no-logo && $(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" scripts/check_files.sh

format: $(VENV)/.dev  ## Format the code and fix what the linter can
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

fuzz: $(VENV)/.dev  ## Search for inputs that break a property of tests/fuzz, guided by coverage, for MINUTES (10); finds go to build/fuzz
	@$(BIN)/python -m tests.fuzz.coverage_guided $(call option,minutes,MINUTES)

lock:  ## Pin the newest allowed versions of EXTRA's packages into LOCK (dev into requirements.lock)
	rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/pip install '.[$(EXTRA)]'
	build/lock/bin/pip freeze --exclude fruity > $(LOCK) && rm -rf build/lock

docs: $(VENV)/.dev  ## Generate the tables, dry runs and dashboards that are committed, then build the site
	@for page in metrics_page dry_runs dashboards; do $(BIN)/python -m scripts.$$page || exit; done
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

site: $(VENV)/.docs  ## Build the docs site in build/site; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

screenshots: $(VENV)/.dev  ## Take the pictures of the playground in docs/, from its tests
	@$(BIN)/pytest -q tests/end_to_end/test_playground.py --screenshots docs

clean:  ## Remove build/ and caches; runs/, data/ and .venv stay
	rm -rf build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

# --- Measure (docs/benchmarks.md, docs/reliability.md)

bench: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.serve  ## Measure fruity, also ARCHIVE, against its peers (40 minutes)
	@$(BENCH_VENV)/bin/python -m benchmarks.bench $(GIVEN_ARCHIVE)

bench-quick: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.serve  ## Measure the same in 5 minutes: one round, fewer loads
	@$(BENCH_VENV)/bin/python -m benchmarks.bench --quick $(GIVEN_ARCHIVE)

bench-rollout: $(VENV)/.dev  ## Swap versions of the running server SWAPS times under load; count failures, plot latency
	@$(BIN)/python -m benchmarks.version_swaps --swaps $(SWAPS) --config $(call quoted,$(CONFIG))

bench-loop: $(VENV)/.dev  ## Measure the story of the loop: ten new labels, drift, corrections, the next version (20 minutes)
	@$(BIN)/python -m benchmarks.loop_story

bench-drift: $(VENV)/.dev  ## Measure drift detection on Grocery Store: false alarms, what is found in 200 photos (10 minutes)
	@$(BIN)/python -m benchmarks.drift_detection

bench-container: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.registry  ## Measure the reverse proxy, and what is lost by killed workers and SIGTERM
	@$(BENCH_VENV)/bin/python -m benchmarks.container_load

bench-score: $(VENV)/.dev  ## Measure make score against the same handler without Ray, its memory, and 10 kills (ARGS="--only rate")
	@$(BIN)/python -m benchmarks.score_bench $(GIVEN_ARCHIVE) $(ARGS)

bench-capacity: $(VENV)/.dev $(BENCH_VENV)/serve/.registry  ## Measure the container's capacity and simulate Cloud Run with it; write docs/capacity.md (9 minutes)
	@$(BIN)/python -m benchmarks.capacity.capacity_bench --python $(BENCH_VENV)/serve/bin/python $(ARGS)

bench-client: $(VENV)/.dev  ## Measure what scaling 12-megapixel photos down gains at the server at URL (ARGS=--mbit=100 for such a link)
	@$(BIN)/python -m benchmarks.client_photos --url $(call quoted,$(URL)) $(ARGS)

chaos: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.registry  ## Kill, stop and starve the container's parts under load; write the table to docs/reliability.md
	@$(BENCH_VENV)/bin/python -m benchmarks.chaos $(ARGS)

hostile: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.registry  ## Attack the container's processes beside honest clients: bombs, smuggling, floods, slow clients
	@$(BENCH_VENV)/bin/python -m benchmarks.hostile $(ARGS)

hosts-test: $(VENV)/.dev  ## Serve and train on two hosts, network namespaces, that are cut off, killed, replaced (root, 4 minutes)
	$(BIN)/pytest tests/hosts --page docs/reliability.md $(ARGS)

soak: $(BENCH_VENV)/.bench $(BENCH_VENV)/serve/.registry  ## Load the container's processes for MINUTES (30) with rubbish and rollouts; say what grows
	@$(BENCH_VENV)/bin/python -m benchmarks.soak $(call option,minutes,MINUTES) $(ARGS)

# An extra of pyproject.toml, installed once, and again when INSTALL_INPUTS change.
$(VENV)/.%: $(INSTALL_INPUTS)
	@$(PYTHON) -m scripts.prepare_venv $* --venv $(VENV) $(call option,torch-index,TORCH_INDEX)
	@touch $(foreach extra,$* $(INCLUDED_IN_$*),$(VENV)/.$(extra))

# The peers conflict with requirements.lock, and torch in its venv would slow fruity down: docs/decisions/0007.
$(BENCH_VENV)/.bench: $(INSTALL_INPUTS) benchmarks/requirements.lock
	@$(PYTHON) -m scripts.prepare_venv bench --venv $(BENCH_VENV) --lock benchmarks/requirements.lock \
	  $(call option,torch-index,TORCH_INDEX)
	@touch $@

# The container's processes have the packages of `registry`, as the image has.
$(BENCH_VENV)/serve/.%: $(INSTALL_INPUTS)
	@$(PYTHON) -m scripts.prepare_venv $* --venv $(BENCH_VENV)/serve
	@touch $@

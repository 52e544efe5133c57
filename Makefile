# brainalign: every command a user needs.  `make help` lists them.
SHELL    := /bin/bash
PYTHON   ?= python3
VENV     ?= .venv
SETTINGS ?= workflow/config/phantom.yml
PROFILE  ?= local
CORES    ?= $(shell env -u OMP_NUM_THREADS nproc)
NSD      ?=
COCO     ?=
SCORES   ?=
PORT     ?= 8000
SNAKEMAKE_ARGS ?=
BIN      := $(VENV)/bin
READY    := $(VENV)/.ready
# The cores of this machine bound what runs here, not what a cluster's jobs ask for.
RUN       = $(BIN)/snakemake --snakefile workflow/Snakefile --workflow-profile workflow/profiles/$(PROFILE) \
            $(if $(filter local,$(PROFILE)),--cores $(CORES)) $(SNAKEMAKE_ARGS)

# The last line of make is the sentence that says what went wrong, not "Error 1": `check` ends make with it before
# anything runs; a run that fails leaves it in NOTE, and the next step of the target (`stop`) ends make with it.
NOTE     := $(VENV)/.make-$(shell echo $$PPID)
CHECK     = $(BIN)/brainalign check $@ --settings "$(SETTINGS)" --nsd "$(NSD)" --coco "$(COCO)" --scores "$(SCORES)" \
            --notebook "$(NOTEBOOK)" --profile "$(PROFILE)" --cores "$(CORES)" --port "$(PORT)" 2>$(NOTE) && rm $(NOTE) || \
            [ $$? -lt 126 ] || echo "Error: $(VENV) was made in another folder; delete it, and make makes it anew" >$(NOTE)
check     = $(eval FILE := $$(shell $$(CHECK)))$(stop)
stop      = $(eval SENTENCE := $$(shell cat $(NOTE) 2>/dev/null; rm -f $(NOTE)))$(if $(SENTENCE),$(error $(SENTENCE)))

# Snakemake takes off the quotes around a value and reads the rest as YAML: this one stays the text that it is.
HASH     := \#
text      = $(if $(2),$(1)='!!str "$(subst ','\'',$(2))" $(HASH)')

# One thread of linear algebra per parallel job: jobs that fight for cores are many times slower.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= $(OMP_NUM_THREADS)
export MKL_NUM_THREADS ?= $(OMP_NUM_THREADS)
export HF_HUB_DISABLE_TELEMETRY = 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help env study book pdf archive figure paper serve lab test test-slow test-robust test-slurm test-real-data test-book chromium slurm lint format phantom-models benchmark lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

OLD       = $(if $(wildcard $(BIN)/python),,$(shell $(PYTHON) -c 'import sys; \
            sys.version_info >= (3, 11) or print("Python " + sys.version.split()[0])' 2>/dev/null || echo no Python))

env: $(READY) ## make the virtual environment (done by every other target)

$(READY): requirements.lock pyproject.toml $(wildcard packages/*/pyproject.toml)
	$(if $(OLD),$(error Error: $(PYTHON) is $(OLD); give another that is Python 3.11 or newer: make PYTHON=python3.13))
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/python -m pip check
	touch $@

study:: $(READY) ## run the study of SETTINGS (the phantom by default), without the book
book:: $(READY) ## run the study and build the book; from published scores alone: make book SCORES=archive.zip
archive:: $(READY) ## write an archive of derived scores, fit for publication: no responses, no images
figure:: $(READY) ## remake one result and what it needs: make figure NOTEBOOK=06_compare_models
study book archive figure::
	$(check)
	@began=$$(date +%s); $(RUN) --config $(call text,settings,$(FILE)) $(call text,nsd,$(NSD)) \
		$(call text,coco,$(COCO)) $(if $(filter figure,$@),figure="$(NOTEBOOK)") -- $@ || \
		{ $(BIN)/brainalign failed $@ --settings "$(FILE)" --since $$began > $(NOTE) 2>&1; true; }
study book archive figure::
	$(stop)
book::
	@$(BIN)/python -m brainalign_utils.publishing.publish where --settings "$(FILE)"

pdf: book chromium ## print the whole book into one PDF
	$(BIN)/python -m brainalign_utils.publishing.publish pdf --settings "$(SETTINGS)"

paper: SETTINGS := $(if $(filter file,$(origin SETTINGS)),workflow/config/nsd.yml,$(SETTINGS))
paper: book archive ## the same on real data: make paper NSD=/path COCO=/path [SETTINGS=... PROFILE=slurm]

serve: $(READY) ## look at the book on http://localhost:8000, or another PORT
	$(check)
	$(BIN)/python -m brainalign_utils.publishing.publish serve --settings "$(FILE)" --port "$(PORT)"

lab: $(READY) ## open the notebooks in JupyterLab, paired with their .py: make lab [NOTEBOOK=06_compare_models]
	$(check)
	$(BIN)/jupytext --sync notebooks/*.py
	$(BIN)/jupyter lab notebooks$(if $(NOTEBOOK),/$(NOTEBOOK).ipynb)

test: $(READY) ## run the tests (not the long ones, nor those that need a browser or Slurm)
	$(BIN)/python -m pytest -n 2 -q -m "not browser and not slurm and not robust and not slow" --ignore=tests/browser

test-slow: $(READY) ## run the long tests: simulations, comparisons with peers, CONTRIBUTING followed to a built book
	$(BIN)/python -m pytest -n 2 -q -m slow --ignore=tests/browser

test-robust: $(READY) ## kill small studies, start them twice, run them in strange places, and compare
	$(BIN)/python -m pytest -q -m robust tests/robust

test-slurm: $(READY) slurm ## run a small study through a Slurm cluster of this one machine, and compare
	timeout --signal=INT --kill-after=60 1800 $(BIN)/python -m pytest -q -m slurm tests/slurm

test-real-data: $(READY) ## follow README's section on real data on a phantom behind a local S3 server, and compare
	timeout --signal=INT --kill-after=60 1800 $(BIN)/python tests/real_data/run.py

test-book: $(READY) chromium ## test the built book of SETTINGS in a real browser
	$(check)
	$(BIN)/python -m pytest -q -m browser tests/browser --settings "$(SETTINGS)"

chromium: ## install a browser with apt-get when there is none
	@command -v chromium google-chrome >/dev/null || { [ "$$(id -u)" = 0 ] || SUDO=sudo; \
		$$SUDO apt-get update -q && $$SUDO apt-get install -y -q chromium; }

slurm: ## install Slurm and munge with apt-get when they are not there; no daemon of theirs is started
	@PATH="$$PATH:/usr/sbin"; command -v slurmctld >/dev/null && command -v slurmd >/dev/null && \
		command -v munged >/dev/null || { [ "$$(id -u)" = 0 ] || SUDO=sudo; \
		$$SUDO apt-get update -q && $$SUDO env RUNLEVEL=1 apt-get install -y -q --no-install-recommends slurm-wlm munge; }

lint: $(READY) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

phantom-models: $(READY) ## train the tiny checkpoints of the phantom again
	$(BIN)/python -m training.train --out packages/nsd-phantom/src/nsd_phantom/checkpoints

benchmark: $(READY) ## measure against peers; see benchmarks/README.md
	$(BIN)/python benchmarks/ridge.py
	$(BIN)/python benchmarks/ridge.py --grow
	$(BIN)/python benchmarks/partition.py
	$(BIN)/python benchmarks/extraction.py

lock: ## resolve the ranges of pyproject.toml again and write requirements.lock and environment.yml
	rm -rf _build/lock && $(PYTHON) -m venv _build/lock
	_build/lock/bin/python -m pip install --quiet torch==2.13.0 ./packages/* ".[dev]"
	$(PYTHON) workflow/write_lock.py _build/lock/bin/python
	rm -rf _build/lock

clean: ## remove everything that was computed (the environment stays)
	rm -rf _build .snakemake

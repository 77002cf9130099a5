# Everything runs from here: `make help` lists the targets.
RECIPE ?= allison
ARGS ?=
SWEEP ?= demo
SEEDS ?= 1
RUN ?= sparsity.start=0.4,sparsity=decaying
TEXT ?= The weather will be fine this afternoon.
OUTPUT ?= say.wav
SPEED ?= 1.0
PITCH ?= 1.0
ENERGY ?= 1.0
RUNS ?=
ITEMS ?= 20
SEED ?= 0
RESULTS ?=
RECORDS ?=
BACKEND ?= torch
VOICE ?=
MELS ?=
VOCODER ?= $(if $(MELS),gta,recordings)

SYSTEM_PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PYTHON := $(VENV)/bin/python
SETTINGS = recipe=$(RECIPE) $(ARGS)
SPEAKING = 'name="$(RUN)"' $(if $(VOICE),'voice="$(VOICE)"')
RECORDED = $(if $(RECORDS),'records="$(RECORDS)"')
# Compiled once here, where Python is told to write no bytecode, rather than in every process.
UV_INSTALL = $(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(PYTHON) -c constraints.txt

.NOTPARALLEL:
.PHONY: help setup cluster demo stage1 stage2 stage3 stage4 stage5 stage6 stage7 check sweep records \
        status tables report say export voice gta-mels finetune listening-test serve preferences \
        test test-all test-cluster lint bench clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/installed: requirements.txt constraints.txt pyproject.toml
	test -x $(PYTHON) || $(SYSTEM_PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet uv==$(shell sed -n 's/^uv==//p' constraints.txt)
	$(UV_INSTALL) -r requirements.txt
	# Its grammars need only pynini; the rest of it needs packages that a C compiler builds.
	$(UV_INSTALL) --no-deps nemo_text_processing
	$(UV_INSTALL) --no-deps --editable .
	$(PYTHON) -m preprocessing.text.grammars
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(UV_INSTALL) -r requirements-dev.txt
	touch $@

# Each package at constraints.txt's version, where it has one, whatever the launchers ask for:
# hydra-ray-launcher wants a cloudpickle below 3, submitit and joblib one from 3 on.
$(VENV)/installed-cluster: requirements-cluster.txt $(VENV)/installed
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --override constraints.txt \
	    -r requirements-cluster.txt
	touch $@

setup: $(VENV)/installed ## make the virtual environment and install the requirements

cluster: $(VENV)/installed-cluster ## install what Slurm, Ray and Dask need: requirements-cluster.txt

demo: setup ## the whole recipe: stages 1-3, a sweep of three systems (stages 4-6), stage 7
	$(PYTHON) scripts/stage1_download.py $(SETTINGS)
	$(PYTHON) scripts/stage2_align.py $(SETTINGS)
	$(PYTHON) scripts/stage3_features.py $(SETTINGS)
	$(PYTHON) scripts/sweep.py jobs=3 $(SETTINGS) sweep=demo
	$(PYTHON) scripts/stage7_tables.py $(SETTINGS)

stage1: setup ## download the corpus
	$(PYTHON) scripts/stage1_download.py $(SETTINGS)
stage2: setup ## align phones with the speech
	$(PYTHON) scripts/stage2_align.py $(SETTINGS)
check: setup ## what is wrong with the corpus and its alignments, all of it, before stage 3
	$(PYTHON) scripts/check.py $(SETTINGS)
stage3: setup ## extract mel, pitch and energy
	$(PYTHON) scripts/stage3_features.py $(SETTINGS)
stage4: setup ## train one system: ARGS="sparsity=decaying sparsity.start=0.6"
	$(PYTHON) scripts/stage4_train.py $(SETTINGS)
stage5: setup ## synthesise and vocode with the system of the same ARGS
	$(PYTHON) scripts/stage5_vocode.py $(SETTINGS)
stage6: setup ## evaluate the system of the same ARGS
	$(PYTHON) scripts/stage6_evaluate.py $(SETTINGS)
stage7: setup ## tables, figures and report.html over all finished runs
	$(PYTHON) scripts/stage7_tables.py $(SETTINGS) $(RECORDED)

sweep: setup ## stages 4-6 for each run of conf/sweep/: SWEEP=demo, paper, grid or ablation, SEEDS=3
	$(PYTHON) scripts/sweep.py $(SETTINGS) sweep=$(SWEEP) seeds=$(SEEDS) $(RECORDED)
records: setup ## keep records of a sweep's finished runs: RECORDS=<folder> and what sweep was given
	@$(PYTHON) scripts/records.py $(SETTINGS) sweep=$(SWEEP) seeds=$(SEEDS) $(RECORDED)
status: setup ## a live table of the sweeps: state, update, loss, time left
	@$(PYTHON) scripts/status.py $(SETTINGS)
tables report: stage7
tables: ## the same as stage7
report: ## the same as stage7

# By the environment and unexpanded, since a sentence may hold quotes and dollars.
say: export SAY_TEXT = $(value TEXT)
say: setup ## speak: TEXT="Hello." RUN=<folder in exp/> or VOICE= OUTPUT= SPEED= PITCH= ENERGY= BACKEND=
	@$(PYTHON) scripts/say.py $(SETTINGS) $(SPEAKING) 'output="$(OUTPUT)"' \
	    speed=$(SPEED) pitch=$(PITCH) energy=$(ENERGY) backend=$(BACKEND)
export: setup ## export RUN=<folder in exp/> or VOICE= to ONNX, checked against torch, for BACKEND=onnx
	$(PYTHON) scripts/export.py $(SETTINGS) $(SPEAKING)
voice: setup ## write RUN=<folder in exp/> as a voice that needs neither data/ nor exp/: VOICE=voices/<recipe>
	$(PYTHON) scripts/voice.py $(SETTINGS) $(SPEAKING)
gta-mels: setup ## ground-truth-aligned mels of RUN=<folder in exp/>, to fine-tune HiFi-GAN on
	$(PYTHON) scripts/gta_mels.py $(SETTINGS) 'name="$(RUN)"'
finetune: setup ## fine-tune HiFi-GAN as VOCODER=, on the recordings or MELS=<folder of make gta-mels>
	$(PYTHON) scripts/finetune_vocoder.py $(SETTINGS) 'name="$(VOCODER)"' \
	    $(if $(MELS),'finetuning.mels="$(MELS)"')

# By the environment, since names of runs hold commas and equals signs.
listening-test: export LISTENING_RUNS = $(RUNS)
listening-test: setup ## write a listening test: RUNS="<folder in exp/$(RECIPE)/> ..." ITEMS=20 SEED=0
	$(PYTHON) scripts/listening_test.py $(SETTINGS) listening.sentences=$(ITEMS) listening.seed=$(SEED)
serve: setup ## serve the listening test on this machine and collect answers
	$(PYTHON) scripts/serve.py $(SETTINGS)
preferences: export LISTENING_RESULTS = $(RESULTS)
preferences: setup ## analyse answers: RESULTS=<file or folder>, else those that make serve took
	$(PYTHON) scripts/preferences.py $(SETTINGS)

test: $(VENV)/installed-dev ## the fast tests, four to nine minutes on two cores
	$(PYTHON) -m pytest
test-all: $(VENV)/installed-dev cluster ## all tests, some of them minutes long
	$(PYTHON) -m pytest -m "slow or not slow" -rs
test-cluster: $(VENV)/installed-dev cluster ## those of Slurm, Ray and Dask, on this machine
	@command -v slurmctld munged > /dev/null || \
	    echo "Slurm's test is skipped: apt-get install slurm-wlm munge, and run this as root"
	$(PYTHON) -m pytest -m "slow or not slow" -rs -n 1 tests/cluster
lint: $(VENV)/installed-dev ## style
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
bench: $(VENV)/installed-dev ## what each part costs on this machine; the last two after make demo
	$(PYTHON) scripts/bench/sniper_cost.py
	$(PYTHON) scripts/bench/training.py
	$(PYTHON) scripts/bench/vocoder.py
	$(PYTHON) scripts/bench/features.py pairs $(SETTINGS)
	RUN='$(RUN)' $(PYTHON) scripts/bench/say.py
clean: ## remove what the recipe made, but not downloads, listening tests and their answers
	rm -rf exp results vocoders say.wav
	test ! -d data || find data -mindepth 2 -maxdepth 2 ! -name downloads -exec rm -rf {} +

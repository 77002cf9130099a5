# Everything is run from here. `make help` lists the targets.
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
DUMP ?=
PROSODY ?=
VOICES ?=
PORT ?= 7860
RUNS ?=
ITEMS ?= 20
SEED ?= 0
RESULTS ?=
RECORDS ?=
BACKEND ?= torch
# Without RUN=, a voice that comes with the recipe speaks.
VOICE ?= $(if $(filter file,$(origin RUN)),$(wildcard voices/$(RECIPE)))
MELS ?=
VOCODER ?= $(if $(MELS),gta,recordings)

SYSTEM_PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
STARTED := $(shell date +%s)
PYTHON := $(VENV)/bin/python
SETTINGS = recipe=$(RECIPE) $(ARGS)
SPEAKING = 'name="$(RUN)"' $(if $(VOICE),'voice="$(VOICE)"')
RECORDED = $(if $(RECORDS),'records="$(RECORDS)"')
# Bytecode is compiled here once. Where Python may not write it, every process would compile again.
UV_INSTALL = $(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(PYTHON) -c constraints.txt

.NOTPARALLEL:
.PHONY: help setup cluster loggers demo stage1 stage2 stage3 stage4 stage5 stage6 stage7 check sweep records \
        status tables report say app export voice scp gta-mels finetune listening-test serve preferences \
        settings test test-all test-cluster lint bench clean

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

# The versions of constraints.txt override those that optional packages require, which contradict
# each other: hydra-ray-launcher wants cloudpickle < 3, submitit and joblib want cloudpickle >= 3,
# gradio wants pillow < 13.
$(VENV)/installed-%: requirements-%.txt $(VENV)/installed
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --override constraints.txt -r $<
	touch $@

setup: $(VENV)/installed ## create the virtual environment and install the requirements

cluster: $(VENV)/installed-cluster ## install the packages for Slurm, Ray and Dask: requirements-cluster.txt
loggers: $(VENV)/installed-loggers ## install the packages for logger=wandb and mlflow: requirements-loggers.txt

demo: setup ## run the whole recipe: stages 1-3, stages 4-6 of three systems, stage 7
	SNIPER_TTS_STARTED=$(STARTED) $(PYTHON) scripts/demo.py jobs=3 $(SETTINGS) sweep=demo

stage1: setup ## download the corpus
	$(PYTHON) scripts/stage1_download.py $(SETTINGS)
stage2: setup ## align the phones with the recordings
	$(PYTHON) scripts/stage2_align.py $(SETTINGS)
check: setup ## list every fault of the corpus and its alignments before stage 3
	$(PYTHON) scripts/check.py $(SETTINGS)
stage3: setup ## extract mel, F0 and energy
	$(PYTHON) scripts/stage3_features.py $(SETTINGS)
stage4: setup ## train one system: ARGS="sparsity=decaying sparsity.start=0.6"
	$(PYTHON) scripts/stage4_train.py $(SETTINGS)
stage5: setup ## synthesise and vocode the test sentences with the system of these ARGS
	$(PYTHON) scripts/stage5_vocode.py $(SETTINGS)
stage6: setup ## evaluate the system of these ARGS
	$(PYTHON) scripts/stage6_evaluate.py $(SETTINGS)
stage7: setup ## make tables, figures and report.html of all finished runs
	$(PYTHON) scripts/stage7_tables.py $(SETTINGS) $(RECORDED)

sweep: setup ## run stages 4-6 of each run in conf/sweep/: SWEEP=demo, pair, paper, grid or ablation, SEEDS=3
	$(PYTHON) scripts/sweep.py $(SETTINGS) sweep=$(SWEEP) seeds=$(SEEDS) $(RECORDED)
records: setup ## keep records of a sweep's finished runs: RECORDS=<folder> and the sweep's arguments
	@$(PYTHON) scripts/records.py $(SETTINGS) sweep=$(SWEEP) seeds=$(SEEDS) $(RECORDED)
status: setup ## show a live table of the sweeps: state, update, loss, time left
	@$(PYTHON) scripts/status.py $(SETTINGS)
tables report: stage7
tables: ## the same as stage7
report: ## the same as stage7

# Passed through the environment and not expanded, since texts may contain quotes and dollar signs.
say: export SAY_TEXT = $(value TEXT)
say: setup ## speak TEXT="Hello." with the recipe's voice, VOICE=<folder> or RUN=<folder in exp/>: OUTPUT= SPEED= DUMP= PROSODY= ...
	@$(PYTHON) scripts/say.py $(SETTINGS) $(SPEAKING) 'say.output="$(OUTPUT)"' \
	    say.speed=$(SPEED) say.pitch=$(PITCH) say.energy=$(ENERGY) say.backend=$(BACKEND) \
	    'say.dump="$(DUMP)"' 'say.prosody="$(PROSODY)"'
app: $(VENV)/installed-app ## a page that speaks: VOICES="<voice or folder in exp/$(RECIPE)/> ..." PORT=7860
	$(PYTHON) scripts/app.py $(SETTINGS) app.port=$(PORT)
export: setup ## export RUN=<folder in exp/> or VOICE= to ONNX, checked against torch, for BACKEND=onnx
	$(PYTHON) scripts/export.py $(SETTINGS) $(SPEAKING)
voice: setup ## write RUN=<folder in exp/> as a voice that needs neither data/ nor exp/, to VOICE=<folder>
	$(PYTHON) scripts/voice.py $(SETTINGS) 'name="$(RUN)"' $(if $(filter file,$(origin VOICE)),,'voice="$(VOICE)"')
scp: setup ## write wav.scp, text and references of RUN=<folder in exp/>, as VERSA reads them
	$(PYTHON) scripts/scp.py $(SETTINGS) 'name="$(RUN)"'
gta-mels: setup ## ground-truth-aligned mels of RUN=<folder in exp/>, to fine-tune HiFi-GAN on
	$(PYTHON) scripts/gta_mels.py $(SETTINGS) 'name="$(RUN)"'
finetune: setup ## fine-tune HiFi-GAN as VOCODER=, on the recordings or MELS=<folder of make gta-mels>
	$(PYTHON) scripts/finetune_vocoder.py $(SETTINGS) 'name="$(VOCODER)"' \
	    $(if $(MELS),'finetuning.mels="$(MELS)"')

# Passed through the environment, since names of runs contain commas and equals signs.
app: export APP_VOICES = $(VOICES)
listening-test: export LISTENING_RUNS = $(RUNS)
listening-test: setup ## write a listening test: RUNS="<folder in exp/$(RECIPE)/> ..." ITEMS=20 SEED=0
	$(PYTHON) scripts/listening_test.py $(SETTINGS) listening.sentences=$(ITEMS) listening.seed=$(SEED)
serve: setup ## serve the listening test on this machine and collect answers
	$(PYTHON) scripts/serve.py $(SETTINGS)
preferences: export LISTENING_RESULTS = $(RESULTS)
preferences: setup ## analyse answers: RESULTS=<file or folder>, by default those of make serve
	$(PYTHON) scripts/preferences.py $(SETTINGS)

test: $(VENV)/installed-dev ## run the fast tests, ten to twenty minutes on two cores
	$(PYTHON) -m pytest
test-all: $(VENV)/installed-dev cluster loggers $(VENV)/installed-app ## run all tests, some of which take minutes each
	$(PYTHON) -m pytest -m "slow or not slow" -rs
test-cluster: $(VENV)/installed-dev cluster ## run the tests of Slurm, Ray and Dask on this machine
	@command -v slurmctld munged > /dev/null || \
	    echo "Slurm's test is skipped: apt-get install slurm-wlm munge, and run this as root"
	$(PYTHON) -m pytest -m "slow or not slow" -rs -n 1 tests/cluster
settings: setup ## print every setting with its type, default and meaning: conf/SETTINGS.md
	@$(PYTHON) scripts/settings.py
lint: $(VENV)/installed-dev ## check style and types
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy
bench: $(VENV)/installed-dev ## measure each part on this machine; the last two benchmarks need make demo
	$(PYTHON) scripts/bench/sniper_cost.py
	$(PYTHON) scripts/bench/training.py
	$(PYTHON) scripts/bench/vocoder.py
	$(PYTHON) scripts/bench/features.py pairs $(SETTINGS)
	RUN='$(RUN)' $(PYTHON) scripts/bench/say.py
clean: ## remove all results but downloads, voices, listening tests and their answers
	rm -rf exp results vocoders say.wav
	test ! -d data || find data -mindepth 2 -maxdepth 2 ! -name downloads -exec rm -rf {} +

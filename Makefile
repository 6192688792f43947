# Everything starts from `make install`: a virtual environment with exact versions, and nothing outside the checkout.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
RIVALS := .venv-rivals

# Datasets in the layout of BEIR that `make eval` measures where they are, and where it keeps what it made of them.
EVAL_DATASETS ?= ../shared/data/scifact
EVAL_HOME ?= .muniment-eval

.PHONY: install demo serve test check bench eval

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Muniment needs Python 3.11 or newer: make PYTHON=python3.11 install")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	-$(BIN)/python -m app.adapters.onnx_export installed  # without it, servers write it at their first start
	touch $@

demo: install
	$(BIN)/muniment demo

serve: install
	$(BIN)/muniment serve

test: install
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml

bench: install $(RIVALS)/installed
	@missed=0; \
	$(BIN)/python -m bench || missed=1; \
	$(BIN)/python -m bench.scaling || missed=1; \
	$(BIN)/python -m bench.against --python $(RIVALS)/bin/python --also 1000000 || missed=1; \
	exit $$missed

# What Muniment is measured against, apart from it: none of its libraries meet ours.
$(RIVALS)/installed: bench/rivals/requirements.txt
	test -x $(RIVALS)/bin/python || $(PYTHON) -m venv $(RIVALS)
	$(RIVALS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement bench/rivals/requirements.txt
	touch $@

eval: install
	@missed=0; \
	$(BIN)/muniment eval --golden fixtures/golden/questions.yaml || missed=1; \
	for dataset in $(EVAL_DATASETS); do \
		test -d $$dataset || { echo "$$dataset is not there, so it is not measured."; continue; }; \
		case $$dataset in *scifact) target="--target ndcg@10=0.735";; *) target="";; esac; \
		$(BIN)/muniment eval --dataset $$dataset --guard $$target --home $(EVAL_HOME)/$$(basename $$dataset) || missed=1; \
	done; \
	exit $$missed

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Tests start many processes, and each would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo serve test browser repeat cloud ray conformance interop spark endurance fuzz load hostile containers docs check lint types fmt lock clean

demo: $(VENV)/.run  ## Train digits and xor, serve them, ask, stop.
	$(BIN)/python deploy/demo.py

serve: $(VENV)/.run  ## The same, and leave the server running.
	$(BIN)/python deploy/demo.py --keep

# What these marks name has targets of its own.
apart := not long and not browser and not fuzz and not load and not cloud

# Three at a time, since many wait for processes.
test: $(VENV)/.dev  ## Every check, and every test but those that take long.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 3 -m "$(apart)"

browser: $(VENV)/.dev  ## The console in Chromium, as people use it.
	$(BIN)/pytest -m browser

in_buckets := tests/trainer/scoring/test_folders.py tests/models/storage/test_copying.py \
    $(addprefix tests/trainer/data/test_,bucket_files.py results.py)

cloud: .cloud/.run  ## Stores in buckets, on real servers (PUBLISHED=50 MOVED=1000: more).
	.cloud/bin/python -m pytest -n 2 --dist loadfile -m cloud tests/e2e/test_bucket.py \
	    tests/e2e/test_load.py $(in_buckets) \
	    $(addprefix tests/models/storage/test_,contract.py bucket.py bucket_client.py \
	    object_store.py object_files.py many_writers.py)
	BUCKETS=moto .cloud/bin/python -m pytest -m cloud $(in_buckets)

TIMES ?= 50

repeat: $(VENV)/.dev  ## What starts a process, a thread or a signal, TIMES times over.
	$(BIN)/pytest -n 2 --times $(TIMES) -m "processes and $(apart)"

KILLS ?= 200
MOMENTS ?= 20

endurance: $(VENV)/.dev  ## Kill training, fill its disk, stop its database: what is long.
	KILLS=$(KILLS) MOMENTS=$(MOMENTS) $(BIN)/pytest -s -m long

hostile: $(VENV)/.dev  ## 200 slow clients of each kind for a minute, beside one that behaves.
	HOSTILE_CONNECTIONS=200 HOSTILE_SECONDS=60 $(BIN)/pytest -s tests/e2e/test_hostile.py

containers: $(VENV)/.dev  ## The Compose stack, and three nights of it, a minute each.
	$(BIN)/pytest -s tests/container/isolated

load: $(VENV)/.dev  ## 200,000 requests while versions and servers come and go.
	LOAD_REQUESTS=200000 LOAD_PUBLISHES=20 LOAD_ROLLBACKS=5 LOAD_SIGHUPS=3 \
	    $(BIN)/pytest -s -m "load and not cloud"

REQUESTS ?= 50000

fuzz: $(VENV)/.dev  ## 50,000 bad requests, 10,000 bad files, all of the contract.
	REQUESTS=$(REQUESTS) EXAMPLES=25 $(BIN)/pytest -s -m fuzz

clients := $(addprefix .conformance/,$(addsuffix /.run,kserve mlflow airflow dagster))

conformance: $(VENV)/.dev $(clients)  ## Clients and schedulers of others, real servers.
	$(BIN)/pytest tests/conformance/isolated

interop: .interop/.run  ## scikit-learn's checks, pandas, ONNX Runtime and the notebook.
	.interop/bin/pytest tests/interop/isolated

spark: .spark/.run  ## A model in Spark's mapInArrow, which needs Java 17 or 21.
	.spark/bin/pytest tests/interop/isolated/test_scoring.py::test_spark

ray: $(VENV)/.dev .ray/.run  ## The networks of a run on clusters of a real Ray.
	$(BIN)/pytest tests/trainer/engines/isolated

check: lint types

docs: $(VENV)/.dev  ## Rewrite what follows from the code.
	$(BIN)/python docs/build.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## Pin every dependency, by hash and without addresses (needs uv).
	uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    --upgrade pyproject.toml -o deploy/locks/service.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    --extra trainer --extra sql -c deploy/locks/service.txt pyproject.toml -o deploy/locks/trainer.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    --extra dev -c deploy/locks/trainer.txt pyproject.toml -o deploy/locks/dev.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    --extra trainer --extra onnx -c deploy/locks/dev.txt pyproject.toml \
	    tests/interop/isolated/interop.in -o deploy/locks/interop.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    --extra trainer -c deploy/locks/trainer.txt pyproject.toml \
	    tests/interop/isolated/spark.in -o deploy/locks/spark.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    --extra trainer --extra cloud -c deploy/locks/service.txt pyproject.toml \
	    tests/cloud.in -o deploy/locks/cloud-tests.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    --extra cloud -c deploy/locks/service.txt pyproject.toml -o deploy/locks/cloud.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    --extra trainer --extra ray -c deploy/locks/trainer.txt pyproject.toml -o deploy/locks/ray.txt
	for client in kserve mlflow airflow dagster; do \
	    uv pip compile --quiet --universal --generate-hashes --no-header \
	        --python-version 3.11 --upgrade tests/conformance/isolated/$$client.in \
	        -o deploy/locks/$$client.txt; \
	done

clean:
	rm -rf $(VENV) .conformance .interop .spark .cloud .ray .mypy_cache .ruff_cache .pytest_cache .hypothesis artefacts
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "expected Python 3.11 or newer, found $$($(PYTHON) --version 2>&1);" \
	        "name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.run: deploy/locks/trainer.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r deploy/locks/trainer.txt
	$(PIP) 'setuptools>=77'
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: deploy/locks/dev.txt $(VENV)/.run
	$(PIP) --require-hashes -r deploy/locks/dev.txt
	touch $@

.cloud/.run: deploy/locks/cloud-tests.txt pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet \
	    --require-hashes -r $<
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet \
	    --no-deps --no-build-isolation --editable .
	touch $@

.conformance/%/.run: deploy/locks/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet \
	    --require-hashes -r $<
	touch $@

.interop/.run .spark/.run: .%/.run: deploy/locks/%.txt pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet \
	    --require-hashes -r $<
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet 'setuptools>=77'
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps \
	    --no-build-isolation --editable .
	touch $@

.ray/.run: deploy/locks/ray.txt pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet \
	    --require-hashes -r $<
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet 'setuptools>=77'
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet \
	    --no-deps --no-build-isolation --editable .
	touch $@

# People and CI call the same targets; a target of more than two lines is a script in scripts/.
.PHONY: setup demo test test-fast chaos lint format airflow bench quality methods form lock clean
.DEFAULT_GOAL := setup

# some images tell Python to keep no bytecode, and then each process of a test compiles all its
# packages again: 8 of the 17 seconds that a `train` needs to begin, more in every part of Airflow
export PYTHONDONTWRITEBYTECODE :=

# tests and the demo are short: code that is compiled quickly beats code that runs fastest
test test-fast demo: export SPARK_SUBMIT_OPTS = -XX:TieredStopAtLevel=1

# threads of OpenMP wait for each other asleep: spinning, two trainings at once on two busy cores
# took 70 to 90 s for what takes 4 s
test test-fast demo: export OMP_WAIT_POLICY ?= PASSIVE

# threads of numpy's OpenBLAS spin whatever that says: the choices of a training took 49 CPU seconds
# with one thread, and with two beside other work not the whole of 190
test test-fast: export OPENBLAS_NUM_THREADS ?= 1

setup:  ## Python packages, Java and Delta's JARs; seconds when they are there
	@bash scripts/setup.sh

demo: setup  ## the whole pipeline on MovieLens-100K, then the result by SQL
	@bash scripts/demo.sh

# two at once: one computes where the other waits for Java or Airflow; the tests of a file, which
# share what they set up, stay together, and files come in the order of tests/conftest.py
PYTEST = .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: setup  ## the whole test suite; ARGS go to pytest
	@$(PYTEST) $(ARGS)

test-fast: setup  ## the tests that need neither Spark nor Airflow nor training nor chaos
	@$(PYTEST) -m "not spark and not airflow and not training and not chaos" $(ARGS)

MINUTES ?= 5
chaos: setup  ## real verbs killed, paused, raced and starved for MINUTES; SEED repeats a run
	@PYTHONPATH=tests/support:tests/chaos .venv/bin/python tests/chaos/chaos.py \
	--minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

lint: setup  ## format, rules, types, import contracts
	@bash scripts/lint.sh

format: setup  ## what ruff can mend by itself
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

airflow: setup  ## Airflow with the DAGs, on localhost
	@bash scripts/airflow.sh

bench: setup  ## the speed comparisons, into reports/
	@.venv/bin/python -m jobs.bench.speed && .venv/bin/python -m jobs.bench.training

quality: setup  ## every split, trained for with every seed; DATA and SEEDS choose
	@bash scripts/quality.sh

methods: setup  ## every way to fine-tune, beside each other, into reports/methods.md
	@bash scripts/methods.sh

form: setup  ## dags/form.json, the fields of a manual run, from the settings
	@.venv/bin/python -m jobs.settings.form

lock: setup  ## compile requirements.lock from pyproject.toml
	@bash scripts/lock.sh

clean:  ## remove what was built; the warehouse and the reports stay
	rm -rf .venv .deps .airflow .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

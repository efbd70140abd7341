# Everything runs in .venv, which the first target that needs it builds from the hashed lock. Only Python is required.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY  := $(VENV)/.ready

.PHONY: demo test test-slow check lock clean

demo: $(READY)  ## train LeNet-5 on the embedded handwritten digits, five seeds, and write the report
	$(BIN)/foveal train lenet5_digits --seeds 5

test: $(READY)  ## everything but the slow tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(READY)  ## the tests that train for real
	$(BIN)/pytest -m slow

check: $(READY)  ## lint, format, strict types, fast tests
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(MAKE) test

lock: $(READY)  ## refresh requirements.lock from pyproject.toml
	$(PYTHON) -m pip install --quiet --target $(VENV)/tools uv
	$(VENV)/tools/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev --extra track --extra export \
	  --generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -c "open('$(READY)', 'w').close()"

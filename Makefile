PYTHON ?= python

.DEFAULT_GOAL := help
.PHONY: help check lint types test bounds test-slow docs coverage fmt wheel sbom results-quick

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

check: lint types docs test results-quick  ## all that .ci/run runs

lint:  ## formatting, style, import layers
	ruff format --check .
	ruff check .
	lint-imports

types:  ## mypy, strict
	mypy

test:  ## the tests of everyday work, in two processes, and why any were skipped
	$(PYTHON) -m pytest -m "not slow" -n 2

bounds:  ## the tests of the kernels once more, with every index in compiled code checked
	NUMBA_BOUNDSCHECK=1 $(PYTHON) -m pytest -m "not slow" tests/runtime/engines/test_engines.py tests/runtime/engines/compiled/conv/test_kernel.py tests/runtime/engines/compiled/test_depthwise.py tests/runtime/operators/test_epilogue.py \
		tests/runtime/engines/compiled/numba_simd/test_counter_rng_in_lanes.py tests/runtime/engines/compiled/kernels/test_deviates.py tests/runtime/test_runtime_misfits.py tests/runtime/test_runtime_operators.py tests/runtime/test_executor_wiring.py

test-slow:  ## the long tests: wheels for every Python, whole networks
	$(PYTHON) -m pytest -m slow

results-quick:  ## two rows of docs/results.md made anew and compared with it; a minute
	$(PYTHON) benchmarks/results.py --quick

docs:  ## the pages, into build/docs; a link that leads nowhere, or a page that is not there, is an error
	PYTHONPATH=. $(PYTHON) docs/option_tables.py
	PYTHONPATH=. $(PYTHON) docs/hardware_tables.py
	sphinx-build -W --keep-going -q -b html docs build/docs
	$(PYTHON) docs/check_site.py build/docs

coverage:  ## the everyday tests with branch coverage
	$(PYTHON) -m pytest -m "not slow" --cov --cov-report=term-missing:skip-covered

fmt:  ## format and repair what can be repaired
	ruff check --fix .
	ruff format .

wheel:  ## source archive and wheel, from a clean build folder
	rm -rf build dist
	$(PYTHON) -m build

sbom:  ## what is installed beside lhc, as CycloneDX in dist/ (pip install cyclonedx-bom)
	mkdir -p dist
	cyclonedx-py environment $(PYTHON) --pyproject pyproject.toml --output-reproducible -o dist/lhc.cdx.json

# Two commands: `make run` (see what narbor does) and `make test`.
VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=

.PHONY: run test bench check setup clean

setup: $(VENV)/.run-ready

$(VENV)/bin/python:
	python3 -m venv $(VENV)

$(VENV)/.run-ready: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(PY) scripts/link_source.py
	touch $@

$(VENV)/.test-ready: requirements/test.txt $(VENV)/.run-ready
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements/test.txt
	touch $@

run: $(VENV)/.run-ready
	@case "$(ARGS)" in \
	  ""|-*) $(VENV)/bin/narbor demo $(ARGS) ;; \
	  *) $(VENV)/bin/narbor $(ARGS) ;; \
	esac

test: $(VENV)/.test-ready
	scripts/test

check: $(VENV)/.test-ready
	scripts/check

bench: $(VENV)/.test-ready
	PYTHONPATH=. $(PY) -m bench.run $(ARGS)

clean:
	rm -rf $(VENV) build

# make demo          the whole pipeline on the embedded default, then the dashboard on 127.0.0.1:8501
# make demo SERVE=0  the same without the dashboard
# make test          linter, types and the whole suite
PYTHON ?= python3
SERVE ?= 1
LAKE ?= lake
BIN := .venv/bin

.PHONY: demo dashboard test lint types unit browser screenshots clean

demo: .setup-default
	$(BIN)/python -m pipeline demo --lake $(LAKE)
ifneq ($(SERVE),0)
	$(MAKE) dashboard
endif

dashboard: .setup-default
	$(BIN)/python -m streamlit run dashboard/app.py -- --lake $(LAKE)

test: lint types unit

lint: .setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .setup-dev
	$(BIN)/mypy

unit: .setup-dev browser
	$(BIN)/python -m pytest

# Debian's chromium, for the browser tests only; without it they are skipped with one line that says so.
browser:
	@command -v chromium >/dev/null || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null; } || \
	echo "browser tests: no chromium here and it cannot be installed, so they are skipped"

screenshots: .setup-dev
	$(BIN)/python -m tests.dashboard.screenshots --lake $(LAKE) --out screenshots

clean:
	rm -rf .venv .setup-* .pytest_cache .ruff_cache

.setup-default: requirements.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -r requirements.txt
	touch $@

.setup-dev: requirements-dev.txt requirements.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -r requirements-dev.txt
	touch $@ .setup-default

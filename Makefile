# make help lists the targets: each line of it is the text after ## below.
# Arguments for the demo: make demo ARGS="--port 9000 --environments dev"

.PHONY: help docs demo deploy status deployments runs open-prefect dev application-start prefect-deploy prefect-status-all \
  prefect-deployments prefect-flows prefect-ui streamlit-dev quick test proof contract lint guard sabotage bench races bench-api bench-audit \
  bench-backfill bench-backlog bench-form bench-levels bench-mirror bench-notifications bench-pages bench-pipelines bench-rules bench-run-page bench-schedules \
  bench-viewers seed fmt lock clean
.DEFAULT_GOAL := demo

# 3.13 first: it is what the product is tested with.
PYTHONS := python3.13 python3.14 python3.12 python3
PYTHON := .venv/bin/python
INSTALLED := .venv/installed

demo: $(INSTALLED)  ## start everything on this machine; Ctrl-C stops it
	@$(PYTHON) manage.py demo $(ARGS)

help:  ## list the targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "  make %-20s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# Beside a running demo, or with DATABASE_URL and the other settings of an installation. ENV=prod names an environment.
deploy: $(INSTALLED)  ## deploy the bundled flows to the demo's dev (ENV=prod), or to PREFECT_API_URL
	@if [ -n "$$PREFECT_API_URL" ]; then $(PYTHON) -m flows.deploy $(ARGS); else $(PYTHON) manage.py deploy $(ENV); fi

status: $(INSTALLED)  ## check the Prefect servers
	@$(PYTHON) manage.py health $(ENV)

# By the client: at the demo as one who reads only, or at PORTAL_ADDRESS with PORTAL_TOKEN.
deployments: $(INSTALLED)  ## list the deployments
	@$(PYTHON) -m portal.demo.demo_client deployments $(if $(ENV),-e $(ENV)) $(ARGS)

runs: $(INSTALLED)  ## list the latest runs
	@$(PYTHON) -m portal.demo.demo_client runs $(if $(ENV),-e $(ENV)) $(ARGS)

open-prefect: $(INSTALLED)  ## print and open the address of Prefect's own pages
	@$(PYTHON) manage.py open_prefect $(ENV)

dev: $(INSTALLED)  ## serve the pages beside a running demo, and reload them when a file changes
	@$(PYTHON) manage.py dev $(ARGS)

application-start: demo  ## = make demo
prefect-deploy: deploy  ## = make deploy
prefect-status-all: status  ## = make status
prefect-deployments: deployments  ## = make deployments
prefect-flows: runs  ## = make runs
prefect-ui: open-prefect  ## = make open-prefect
streamlit-dev: dev  ## = make dev

# What is worth running after each change: the tests of everything that starts nothing and trains nothing.
quick: $(INSTALLED)  ## run the tests that start nothing and train nothing
	@$(PYTHON) -m pytest -n 2 -q -m "not stack and not e2e and not prefect and not ml and not matrix" $(ARGS)

test: lint  ## run the linters and all tests
	@$(PYTHON) -m pytest -n 2 $(ARGS)

# What takes longest: kills, races, both Prefect versions, sabotages. Its table is kept in benchmarks/proof.json.
proof: $(INSTALLED)  ## run what takes longest: kills, races, both Prefect versions, sabotages
	@$(PYTHON) -m tests.proof $(ARGS)

# What the tests expect of Prefect, asked of a real server and of the fake. make contract PREFECT=3.8.8 asks a server of
# that version, from an environment of its own.
contract: $(INSTALLED) $(if $(PREFECT),var/prefect-$(PREFECT)/installed)  ## ask a real Prefect server what the tests expect of one (PREFECT=3.8.8 for an older one)
	@$(if $(PREFECT),PORTAL_TEST_PREFECT_VERSION=$(PREFECT) PORTAL_TEST_PREFECT_PYTHON=$(CURDIR)/var/prefect-$(PREFECT)/bin/python) \
	$(PYTHON) -m pytest tests/flows/prefect_api/test_contract.py $(ARGS)

# Prefect 3.8 allows two libraries that it does not work with: its server does not start with a newer FastAPI, and with
# a newer SQLAlchemy its scheduler plans no runs.
CAPS_3.8 := "fastapi<0.151" "sqlalchemy<2.1"

var/prefect-%/installed: | $(PYTHON)
	@echo "Installing Prefect $* into var/prefect-$* …"
	@rm -rf var/prefect-$*; mkdir -p var; \
	wanted='"prefect==$*" $(if $(filter 3.8.%,$*),$(CAPS_3.8))'; \
	if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --python $(PYTHON) var/prefect-$* && \
	  eval uv pip install --quiet --python var/prefect-$*/bin/python $$wanted; \
	else \
	  $(PYTHON) -m venv var/prefect-$* && \
	  eval var/prefect-$*/bin/python -m pip install --quiet --disable-pip-version-check $$wanted; \
	fi
	@touch $@

# The database of makemigrations is one that does not exist, so that a demo that runs is left alone.
lint: export DATABASE_URL := postgresql://nobody@127.0.0.1:9/none
lint: $(INSTALLED)  ## run the linters and the type checker
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	PORTAL_MODE=test .venv/bin/lint-imports --no-cache
	$(PYTHON) -m tests.expectations.guard
	PORTAL_MODE=test $(PYTHON) -m mypy --strict flows runs portal
	PORTAL_MODE=test $(PYTHON) -W ignore::RuntimeWarning manage.py makemigrations --check
	@echo "$(PYTHON) manage.py check --deploy --fail-level WARNING   (production settings, secrets thrown away)"
	@PORTAL_MODE=production PORTAL_ALLOWED_HOSTS=portal.example \
	PORTAL_SECRET_KEY=$$($(PYTHON) -c "import secrets; print(secrets.token_urlsafe(64))") \
	PORTAL_FIELD_KEYS=$$($(PYTHON) -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())") \
	PORTAL_AUDIT_KEYS=$$($(PYTHON) -c "import secrets; print(secrets.token_urlsafe(48))") \
	PORTAL_TOKEN_PEPPERS=1:$$($(PYTHON) -c "import secrets; print(secrets.token_urlsafe(48))") \
	$(PYTHON) manage.py check --deploy --fail-level WARNING

# No commit changes both what the tests expect and the product.
guard: $(INSTALLED)  ## check that no commit changes both the expectations of the tests and the product
	@$(PYTHON) -m tests.expectations.guard

# Breaks the product in many ways, one at a time: each must make a test fail.
sabotage: $(INSTALLED)  ## break the product in many ways; each must make a test fail
	@$(PYTHON) -m tests.sabotage $(ARGS)

bench: $(INSTALLED)  ## measure how long people wait
	@$(PYTHON) -m benchmarks.latency $(ARGS)

races: $(INSTALLED)  ## let approvals, launches, edits and expiry race each other
	@$(PYTHON) -m benchmarks.races $(ARGS)

bench-api: $(INSTALLED)  ## measure requests over the API beside Prefect's own ways
	@$(PYTHON) -m benchmarks.api_requests $(ARGS)

bench-rules: $(INSTALLED)  ## measure the matching of events with 10 and 1,000 event rules
	@$(PYTHON) -m benchmarks.event_rules

bench-notifications: $(INSTALLED)  ## measure the notifications of 10,000 events with 1,000 rules
	@$(PYTHON) -m benchmarks.notifications

bench-levels: $(INSTALLED)  ## measure the evaluation of service levels at 10,000 deployments
	@$(PYTHON) -m benchmarks.levels

bench-audit: $(INSTALLED)  ## measure the audit trail
	@$(PYTHON) -m benchmarks.audit $(ARGS)

# A database of its own in var/seed, or the empty one of DATABASE_URL; make seed ARGS=--serve runs the first one.
seed: $(INSTALLED)  ## fill a database with RUNS=1000000 runs and what belongs to them
	@$(PYTHON) -m benchmarks.seed --runs $(or $(RUNS),1000000) $(ARGS)

# With --data FOLDER the databases are kept and used again.
bench-pages: $(INSTALLED)  ## measure every page and list at 10,000 and 1,000,000 runs, beside Prefect
	@$(PYTHON) -m benchmarks.pages $(if $(RUNS),--runs $(RUNS)) $(ARGS)

bench-mirror: $(INSTALLED)  ## measure the copying of runs and deployments from a large Prefect
	@$(PYTHON) -m benchmarks.mirror $(if $(RUNS),--runs $(RUNS))

# Through kills: make bench-backfill ARGS="--kills 1000"
bench-backfill: $(INSTALLED)  ## measure backfills beside Prefect's own bulk call
	@$(PYTHON) -m benchmarks.backfills $(ARGS)

bench-backlog: $(INSTALLED)  ## measure the queue while Prefect fails
	@$(PYTHON) -m benchmarks.backlog

# One kind: make bench-form ARGS="--only texts"
bench-form: $(INSTALLED)  ## measure the run form: time and size by kind of parameter
	@$(PYTHON) -m benchmarks.form $(ARGS)

# In parts: make bench-pipelines ARGS="--only alarms --worlds 30"
bench-pipelines: $(INSTALLED)  ## measure the pipelines: time, memory, false alarms, hits
	@$(PYTHON) -m benchmarks.pipelines $(ARGS)

bench-run-page: $(INSTALLED)  ## measure the page of a run: time and size by task runs
	@$(PYTHON) -m benchmarks.run_page $(ARGS)

bench-schedules: $(INSTALLED)  ## measure the clock of a thousand schedules
	@$(PYTHON) -m benchmarks.schedules

bench-viewers: $(INSTALLED)  ## measure a hundred people who have the list of runs open
	@$(PYTHON) -m benchmarks.viewers $(ARGS)

# The pages of docs/ that are made from the code.
docs: $(INSTALLED)  ## renew the pages of docs/ that are made from the code
	@$(PYTHON) -m tests.docs_from_code

fmt: $(INSTALLED)  ## format the code
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lock:  ## renew requirements.lock (needs uv)
	@uv=$$(command -v uv || echo .venv/bin/uv); \
	$$uv --version >/dev/null 2>&1 || { echo "make lock needs uv, and there is none: install it, then run make lock again." >&2; exit 1; }; \
	$$uv pip compile --universal --python-version 3.12 --generate-hashes --all-extras --no-annotate --no-header --quiet \
	pyproject.toml --output-file requirements.lock

clean:  ## remove the demo's data and what builds and tests leave
	@test ! -e var/demo/portal.env || { echo "A demo runs on var/demo: stop it first, or remove var/demo/portal.env." >&2; exit 1; }
	rm -rf var/demo build dist staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path "./.venv/*" -prune -exec rm -rf {} +

# A stamp, so that nothing is installed again until the lock changes.
$(INSTALLED): requirements.lock | $(PYTHON)
	@echo "Installing what requirements.lock names into .venv …"
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(PYTHON) --require-hashes --compile-bytecode -r requirements.lock; \
	else \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	fi
	@touch $@

$(PYTHON):
	@if command -v uv >/dev/null 2>&1; then exec uv venv --quiet --python ">=3.12" .venv; fi; \
	for name in $(PYTHONS); do \
	  if $$name -c "import sys; sys.exit(sys.version_info < (3, 12))" >/dev/null 2>&1; then exec $$name -m venv .venv; fi; \
	done; \
	echo "The portal needs Python 3.12 or newer, and none of $(PYTHONS) is that: install one, or uv, then run make again." >&2; \
	exit 1

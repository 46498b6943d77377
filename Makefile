PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: help demo test test-docker simulate chaos soak lint format lock clean
help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(STAMP) ## a table's changes reach OpenSearch and S3 on this machine, judged (KEEP=1 leaves it running)
	@$(BIN)/python -m local.demo $(if $(KEEP),--keep)

test: $(STAMP) lint ## all checks and tests, on real servers (JOBS=4 at once)
	$(BIN)/python -m pytest --numprocesses $(or $(JOBS),4) --dist worksteal

simulate: $(STAMP) ## the whole product on simulated servers, with faults drawn from seeds (SEEDS=200 FIRST=today's SEED= EVENTS=)
	@$(BIN)/python -m cdc.testing.simulate $(if $(SEED),--seed $(SEED) $(if $(EVENTS),--events $(EVENTS)),$(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST)))

chaos: $(STAMP) ## kill, freeze and cut off consumers and servers under load, and judge (ROUNDS=20 SEED=the date)
	@$(BIN)/python -m tests.chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

test-docker: $(STAMP) ## the image and docker-compose.yml, from build to verdict; skipped, loudly, without an engine
	@if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; \
	then $(BIN)/python -m pytest -x -s tests/docker; \
	else printf '\n*** NOT TESTED: the image and docker-compose.yml. No Docker engine with compose v2 answers here. ***\n\n'; fi

soak: $(STAMP) ## a steady load on a consumer; is its memory flat? (MINUTES=10)
	@$(BIN)/python -m local.soak $(if $(MINUTES),--minutes $(MINUTES))

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## let ruff format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(STAMP) ## make the lock files of the poms (needs Maven)
	$(BIN)/python -m local.lock

clean: ## remove the virtual environment and what tools leave
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(STAMP): setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.13") if sys.version_info < (3, 11) else None'
	@echo "installing into .venv …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install 'uv>=0.8,<1'
	@$(BIN)/python -m uv --quiet pip install --python $(BIN)/python --editable '.[kcl,cli,service,test,lint]' \
		|| $(BIN)/python -m pip --quiet install --editable '.[kcl,cli,service,test,lint]'
	@touch $(STAMP)

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
CRATE := --manifest-path core/Cargo.toml

.PHONY: help demo test unit any-item test-docker simulate chaos soak failover lint format lock docs lambda core test-core wheels bench bench-quick bench-cold clean
help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(STAMP) ## a table's changes reach OpenSearch and S3 on this machine, judged (ACT=rebuild CONSUMER=lambda KEEP=1 leaves it running)
	@trap : INT; $(BIN)/python -m local.demo $(if $(ACT),--act $(ACT)) $(if $(CONSUMER),--consumer $(CONSUMER)) $(if $(KEEP),--keep) || [ $$? = 130 ]

test: $(STAMP) $(if $(TESTS),,lint) ## all checks and tests, on real servers (AWS=engine: without LocalStack; JOBS=4 at once; TESTS=path; PLAYS=all: long ones too that take turns)
	AWS=$(AWS) $(BIN)/python -m pytest --numprocesses $(or $(JOBS),4) --dist worksteal $(TESTS)

unit: $(STAMP) ## the tests that need no server
	$(BIN)/python -m pytest --numprocesses $(or $(JOBS),2) --dist worksteal -m "not integration" $(TESTS)

simulate: $(STAMP) ## the whole product on simulated servers, with faults drawn from seeds (SEEDS=200 FIRST=today's SEED= EVENTS=)
	@$(BIN)/python -m tests.simulation.runner $(if $(SEED),--seed $(SEED) $(if $(EVENTS),--events $(EVENTS)),$(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST)))

chaos: $(STAMP) ## kill, freeze and cut off consumers and servers under load, and judge (ROUNDS=20 SEED=the date PLAY=backfills, PLAY=rebuilds)
	@$(BIN)/python -m tests.chaos$(if $(PLAY),.$(PLAY)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

any-item: $(STAMP) ## any item gets its document on the real OpenSearch: many more examples than in a test run (ITEMS=10000)
	@ITEMS=$(or $(ITEMS),10000) AWS=engine $(BIN)/python -m pytest -q -o timeout=7200 tests/integration/test_any_item.py

test-docker: $(STAMP) ## the image and docker-compose.yml, from build to verdict; skipped, loudly, without an engine
	@if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; \
	then $(BIN)/python -m pytest -x -s tests/docker; \
	else printf '\n*** NOT TESTED: the image and docker-compose.yml. No Docker engine with compose v2 answers here. ***\n\n'; fi

soak: $(STAMP) ## a steady load on a consumer; is its memory flat? (MINUTES=10)
	@$(BIN)/python -m local.soak $(if $(MINUTES),--minutes $(MINUTES))

failover: $(STAMP) ## how long until another worker, or the same one anew, reads on (ROUNDS=3)
	@$(BIN)/python -m benchmarks.failover $(if $(ROUNDS),--rounds $(ROUNDS))

lint: $(STAMP) ## ruff and mypy; of the core rustfmt and clippy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v cargo-clippy >/dev/null; \
	then cargo fmt $(CRATE) --check && cargo clippy $(CRATE) --locked --quiet --all-targets --no-default-features -- --deny warnings; \
	else printf '\n*** NOT CHECKED: the core. There is no Rust toolchain here. ***\n\n'; fi

core: $(STAMP) ## the compiled core, in place; left out, loudly, without a Rust toolchain: all works the same, slower
	@$(BIN)/python -m local.core_build --here

test-core: ## the core's own tests; skipped, loudly, without a Rust toolchain
	@if command -v cargo >/dev/null; then cargo test $(CRATE) --locked --quiet --no-default-features; \
	else printf '\n*** NOT TESTED: the core by itself. There is no Rust toolchain here. ***\n\n'; fi

wheels: $(STAMP) ## wheels with the core for x86_64 and arm64 in dist/ (ARCH=one)
	@$(BIN)/python -m local.core_build $(if $(ARCH),--arch $(ARCH))

format: $(STAMP) ## let ruff format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP) ## make docs/api.md from the docstrings
	@mkdir -p build
	$(BIN)/python -m local.api_docs > build/api.md && mv build/api.md docs/api.md

lambda: $(STAMP) ## the function's package in build/lambda, and its size (ARCH=x86_64 LAYER=1 MAPPINGS=folder ADD=own.py)
	@$(BIN)/python -m local.lambda_build $(if $(ARCH),--arch $(ARCH)) $(if $(LAYER),--layer) \
		$(if $(MAPPINGS),--mappings $(MAPPINGS)) $(foreach own,$(ADD),--add $(own)) $(if $(JSON),--json)

bench: $(STAMP) $(if $(PURE),,core) ## ours beside what else one would write: every case, in a quarter of an hour (CASES="record handler" JSON=1 MARKDOWN=1 PURE=1)
	@$(if $(PURE),CDC_CORE=off) $(BIN)/python -m benchmarks $(CASES) $(if $(JSON),--json) $(if $(MARKDOWN),--markdown)

bench-quick: $(STAMP) ## a short form of every case, for breakage only: its figures mean nothing
	@$(BIN)/python -m benchmarks --quick $(CASES)

bench-cold: $(STAMP) ## a cold start in Lambda's runtime, beside a bare handler's (JSON=1)
	@$(BIN)/python -m benchmarks cold_start $(if $(JSON),--json)

lock: $(STAMP) ## make the lock files of the Lambda's package, and of the poms (those need Maven)
	$(BIN)/python -m local.lambda_lock
	$(BIN)/python -m local.lock

clean: ## remove the virtual environment and what tools leave
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis core/target cdc/_core.abi3.so

$(STAMP): setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.13") if sys.version_info < (3, 11) else None'
	@echo "installing into .venv …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install 'uv>=0.8,<1'
	@$(BIN)/python -m uv --quiet pip install --python $(BIN)/python --editable '.[kcl,cli,service,test,bench,lint]' \
		|| $(BIN)/python -m pip --quiet install --editable '.[kcl,cli,service,test,bench,lint]'
	@touch $(STAMP)

# Each target sets up what it needs by itself (uv, Python 3.12, the locked packages), then does its
# job. `make help` lists them; docs and examples call no others.

export NO_MKDOCS_2_WARNING := 1

RUN := tools/uv.sh run --frozen --extra metaworld --extra video
# SimplerEnv's twins need a Vulkan device, which few machines have.
RUN_ALL := tools/uv.sh run --frozen --all-extras --no-extra simpler --group zoo
ARGS ?=
OUT ?= runs/demo

.DEFAULT_GOAL := help
.PHONY: help setup demo example test test-all check format docs docs-serve clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install everything into .venv, and the git hooks
	tools/uv.sh sync --frozen --all-extras --no-extra simpler --group zoo
	$(RUN_ALL) pre-commit install

demo: ## The main job: look into a trained policy in MetaWorld, and report (10 minutes, 2 cores)
	$(RUN) vlascope study run demo --out $(OUT) $(ARGS); ran=$$?; \
	$(RUN) vlascope report $(OUT) && exit $$ran
	$(RUN) vlascope sae train adapters/vlascope_adapters/tinyvla/demo_saes.yaml \
		store=$(OUT)/tinyvla/activations out=$(OUT)/saes
	$(RUN) vlascope sae fidelity $(OUT)/saes/*.*/topk --benchmark metaworld \
		--task "multi/open-drawer" --task "multi/press-button" --task "faucet-*" --seeds 2 --max-steps 60
	$(RUN) vlascope sae success $(OUT)/saes/vlm.3.resid_post/topk --benchmark metaworld \
		--task "multi/press-button" --seeds 0-9 --max-steps 100 --no-random-direction \
		--out $(OUT)/hooked --quiet
	for point in vlm.3.resid_post expert.1.resid_post; do \
		rm -rf $(OUT)/features/$$point; \
		$(RUN) vlascope features index $(OUT)/saes/$$point/topk $(OUT)/tinyvla/activations \
			--out $(OUT)/features/$$point && \
		$(RUN) vlascope features top $(OUT)/features/$$point --by p_general -n 5 || exit 1; \
	done

example: ## The comparison that examples/zoo holds, played and written anew (two hours, 2 cores)
	$(RUN_ALL) vlascope compare zoo --out runs/zoo --yes
	rm -rf examples/zoo && mkdir -p examples/zoo
	cp -r $(addprefix runs/zoo/,comparison.html comparison.md figures tables) examples/zoo/

test: ## What every change must pass (ARGS="-k name" narrows it down)
	$(RUN_ALL) pytest -m "not slow and not gpu" $(ARGS)

test-all: ## The slow tests too
	$(RUN_ALL) pytest -m "not gpu" $(ARGS)

check: ## Format, lint and types, changing nothing
	$(RUN_ALL) ruff format --check .
	$(RUN_ALL) ruff check .
	$(RUN_ALL) mypy
	$(RUN_ALL) pyright

format: ## Let ruff put formatting and imports right
	$(RUN_ALL) ruff format .
	$(RUN_ALL) ruff check --fix .

docs: ## Build the documentation into site/, where a warning is an error
	$(RUN) mkdocs build --strict

docs-serve: ## Read the documentation while writing it
	$(RUN) mkdocs serve

clean: ## Remove what was built; the environment and runs/ stay
	rm -rf site dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

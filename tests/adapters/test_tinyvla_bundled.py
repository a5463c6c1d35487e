"""The TinyVLA that ships: small, whole, documented as measured, and able."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vlascope.benchmark import BenchmarkEnv
from vlascope.noise import generator_for
from vlascope_adapters.tinyvla.adapter import TinyVLAAdapter
from vlascope_adapters.tinyvla.evaluation import SUCCESS, SuccessTable
from vlascope_adapters.tinyvla.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "adapters/vlascope_adapters/tinyvla/weights"


@pytest.fixture(scope="module")
def policy() -> TinyVLAAdapter:
    return TinyVLAAdapter.from_pretrained("bundled")


@pytest.fixture(scope="module")
def measured() -> SuccessTable:
    return SuccessTable.model_validate_json((WEIGHTS / SUCCESS).read_text())


def test_it_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 8e6


def test_it_comes_from_the_bundled_recipe(policy):
    recipe = load_recipe()
    assert policy.card.recipe == recipe.key
    assert policy.card.steps == recipe.schedule.steps
    assert policy.card.network == recipe.network


def test_the_success_table_is_of_these_weights(policy, measured):
    assert measured.checkpoint_hash == policy.info.checkpoint_hash
    assert set(measured.tasks) == set(policy.card.tasks)
    assert min(measured.seeds) >= 5000


def test_the_page_shows_what_was_measured(measured):
    page = (ROOT / "docs/adapters/tinyvla.md").read_text()
    rows = re.findall(r"^\| `([a-z/-]+)` \| (\d+)/(\d+) \| (\S+) to (\S+) \|", page, re.MULTILINE)
    own = [row for row in rows if row[0] in measured.tasks]
    shown = {name: (int(k), int(n), low, high) for name, k, n, low, high in own}
    assert shown == {
        name: (row.successes, row.n, f"{row.low:.2f}", f"{row.high:.2f}")
        for name, row in measured.tasks.items()
    }


def test_it_knows_the_words_it_was_taught(policy):
    for prompts in policy.card.tasks.values():
        for text in prompts:
            assert policy.tokenizer.decode(policy.tokenizer.encode(text)) == text


def succeeds(policy: TinyVLAAdapter, env: BenchmarkEnv, task: str, seed: int) -> bool:
    seen, steps = env.reset(task, seed=seed), 0
    while steps < 150:
        noise = [generator_for(seed, steps)]
        for action in policy.infer([seen], generators=noise).actions[0][
            : policy.info.executed_steps
        ]:
            steps += 1
            if env.step(action).success:
                return True
        seen = env.observe()
    return False


@pytest.mark.sim
@pytest.mark.parametrize("task", ["faucet-open", "door-close", "multi/press-button"])
def test_it_succeeds_on_seeds_it_has_never_seen(policy, task):
    pytest.importorskip("metaworld")
    from vlascope.plugins import benchmark_class

    env = benchmark_class("metaworld")(**policy.card.benchmark.options())
    try:
        assert sum(succeeds(policy, env, task, seed) for seed in range(7000, 7005)) >= 4
    finally:
        env.close()

"""The TinyVLAs of LIBERO and ALOHA that ship: small, whole, documented as measured, and able."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest

from vlascope import conformance
from vlascope.conformance.results import run_check
from vlascope.noise import generator_for
from vlascope.plugins import benchmark_class
from vlascope.specs import check_compatible
from vlascope_adapters.tinyvla.adapter import TinyVLAAdapter
from vlascope_adapters.tinyvla.evaluation import FIRST_SEED, SUCCESS, SuccessTable
from vlascope_adapters.tinyvla.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "adapters/vlascope_adapters/tinyvla/weights"
PROMISES = (
    "chunk_matches_info",
    "token_spans_cover_the_sequence",
    "points_fire_as_declared",
    "rows_are_independent",
    "patching_is_exact",
    "image_reaches_the_action",
    "instruction_reaches_the_action",
    "state_reaches_the_action",
)


class Libero(TinyVLAAdapter):
    """The checkpoint as its own small version, for the conformance checks."""

    @classmethod
    def tiny(cls, seed: int = 0) -> Libero:
        return cls.from_pretrained("libero")


class Aloha(TinyVLAAdapter):
    @classmethod
    def tiny(cls, seed: int = 0) -> Aloha:
        return cls.from_pretrained("aloha")


SHIPPED = {"libero": Libero, "aloha": Aloha}


@pytest.fixture(scope="module", params=SHIPPED)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def policy(name) -> TinyVLAAdapter:
    return TinyVLAAdapter.from_pretrained(name)


@pytest.fixture(scope="module")
def measured(name) -> SuccessTable:
    return SuccessTable.model_validate_json((WEIGHTS / name / SUCCESS).read_text())


@pytest.fixture(scope="module")
def subject(name) -> conformance.AdapterSubject:
    return conformance.AdapterSubject(SHIPPED[name])


def test_it_is_small_enough_to_ship(name):
    assert sum(path.stat().st_size for path in (WEIGHTS / name).iterdir()) < 4e6


def test_it_comes_from_its_recipe(name, policy):
    recipe = load_recipe(bundled=name)
    assert policy.card.recipe == recipe.key
    assert policy.card.steps == recipe.schedule.steps
    assert policy.card.network == recipe.network


def test_it_fits_its_benchmark(policy):
    choice = policy.card.benchmark
    check_compatible(policy.info, benchmark_class(choice.name)(**choice.options()).info)


def test_it_knows_the_words_it_was_taught(policy):
    for prompts in policy.card.tasks.values():
        for text in prompts:
            assert policy.tokenizer.decode(policy.tokenizer.encode(text)) == text


def test_each_task_is_first_called_what_the_benchmark_calls_it(policy):
    choice = policy.card.benchmark
    told = {
        t.name: t.instruction for ts in benchmark_class(choice.name).suites().values() for t in ts
    }
    for task, prompts in policy.card.tasks.items():
        assert prompts[0] == told[task]


@pytest.mark.parametrize("code", PROMISES)
def test_it_keeps_an_adapters_promises(subject, code):
    (check,) = (check for check in conformance.ADAPTER_CHECKS if check.code == code)
    result = run_check(check, subject, None)
    assert result.ok, result.message


def test_the_success_table_is_of_these_weights_and_of_seeds_never_practised(policy, measured):
    assert measured.checkpoint_hash == policy.info.checkpoint_hash
    assert set(measured.tasks) == set(policy.card.tasks)
    unseen = islice(policy.card.benchmark.unseen_seeds(FIRST_SEED), len(measured.seeds))
    assert list(measured.seeds) == list(unseen)


def test_the_page_shows_what_was_measured(name, measured):
    page = (ROOT / "docs/adapters/tinyvla.md").read_text()
    rows = re.findall(r"^\| `(\S+)` \| (\d+)/(\d+) \| (\S+) to (\S+) \|", page, re.MULTILINE)
    shown = {task: (int(k), int(n), low, high) for task, k, n, low, high in rows}
    for task, row in measured.tasks.items():
        told = (row.successes, row.n, f"{row.low:.2f}", f"{row.high:.2f}")
        assert shown[task.removeprefix("libero_goal/")] == told


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package", "task", "seed"),
    [
        ("libero", "libero", "libero_goal/open_the_middle_drawer_of_the_cabinet", 7040),
        ("aloha", "gym_aloha", "transfer-cube", 7000),
    ],
)
def test_it_succeeds_where_it_has_never_been(name, package, task, seed):
    pytest.importorskip(package)
    policy = TinyVLAAdapter.from_pretrained(name)
    choice = policy.card.benchmark
    env = benchmark_class(choice.name)(**choice.options())
    try:
        assert succeeds(policy, env, task, seed)
    finally:
        env.close()


def succeeds(policy: TinyVLAAdapter, env, task: str, seed: int) -> bool:
    seen, steps = env.reset(task, seed=seed), 0
    while steps < policy.card.benchmark.max_steps:
        chunk = policy.infer([seen], generators=[generator_for(seed, steps)]).actions[0]
        for action in chunk[: policy.info.executed_steps]:
            steps += 1
            if env.step(action).success:
                return True
        seen = env.observe()
    return False

"""The bundled policies: found by name, small enough, keeping the promises of their adapters."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

pytest.importorskip("lerobot")
pytest.importorskip("vlascope_zoo")

from vlascope import plugins
from vlascope.conformance import check_adapter
from vlascope.errors import UnknownName
from vlascope.loading import load
from vlascope.records import EpisodePlan
from vlascope.rollout import BenchmarkSpec, run_episodes
from vlascope_zoo import table
from vlascope_zoo.evaluation import group_of
from vlascope_zoo.recipe import lessons, load_recipe
from vlascope_zoo.trained import card_of, checkpoint_folder, trained_names

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
FAST = (
    "chunk_matches_info",
    "same_generator_same_actions",
    "*_reaches_the_action",
    "points_fire_as_declared",
    "token_spans_cover_the_sequence",
    "patching_is_exact",
)
MEGABYTE = 10**6
every_policy = pytest.mark.parametrize("name", trained_names())
every_measured_policy = pytest.mark.parametrize("name", [name for name, *_ in table.policies()])


@pytest.fixture(scope="module")
def policies():
    """Policies by name, each loaded once."""
    loaded = {}

    def policy(name):
        if name not in loaded:
            loaded[name] = load(f"zoo:{name}")
        return loaded[name]

    return policy


def test_every_bundled_policy_is_listed():
    assert {f"zoo:{name}" for name in trained_names()} <= set(plugins.checkpoints())


def test_listing_them_imports_no_framework():
    script = (
        "import sys; from vlascope import plugins; plugins.registry();"
        "print(sorted({'torch', 'lerobot', 'metaworld', 'mujoco'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_policy_that_is_not_there_gets_near_matches():
    with pytest.raises(UnknownName, match="zoo:act"):
        load("zoo:actt")


def test_the_policy_that_vlascope_ships_is_reached_the_same_way():
    assert load("zoo:tinyvla").info.checkpoint == "zoo:tinyvla"


@every_policy
def test_a_policy_is_small(name):
    files = [path for path in checkpoint_folder(name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8 * MEGABYTE
    assert card_of(name).parameters <= 3e6


@every_policy
def test_a_policy_names_no_folder_of_the_machine_that_made_it(name):
    files = checkpoint_folder(name).rglob("*.json")
    found = {f.name: re.findall(r'"/[^"]+/[^"]+"', f.read_text()) for f in files}
    assert not [paths for file, paths in found.items() if paths and file != "tokenizer.json"]


def test_the_package_stays_below_sixty_megabytes():
    package = checkpoint_folder("").parent
    files = [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(path.stat().st_size for path in files) < 60 * MEGABYTE


@every_policy
def test_a_policy_was_trained_by_the_recipe_of_its_name(name):
    assert card_of(name).recipe == load_recipe(name).key


@pytest.mark.sim
@every_policy
def test_a_policy_fits_the_benchmark_that_it_learned_from(name, policies):
    from vlascope.specs import check_compatible

    choice = lessons().benchmark
    env = plugins.benchmark_class(choice.name)(**choice.options())
    try:
        check_compatible(policies(name).info, env.info)
    finally:
        env.close()


@every_policy
def test_a_policy_keeps_its_adapters_promises(name, policies):
    policy = policies(name)
    results = check_adapter(type(policy), only=FAST, make=lambda: policy)
    assert [(r.code, r.message) for r in results if not r.ok] == []


@pytest.mark.slow
@every_policy
def test_a_policy_keeps_all_of_its_adapters_promises(name, policies):
    policy = policies(name)
    results = check_adapter(type(policy), make=lambda: policy)
    assert [(r.code, r.message) for r in results if not r.ok] == []


@pytest.mark.sim
@pytest.mark.slow
@every_policy
def test_a_policy_plays_a_short_episode_as_measured(name, policies, tmp_path):
    choice = lessons().benchmark
    spec = BenchmarkSpec(name=choice.name, options=choice.options())
    plan = EpisodePlan(arm="own", task="drawer-close", seed=7000, max_steps=12)
    (record,) = run_episodes(policies(name), spec, [plan], tmp_path, workers=1)
    assert record.steps == 12 or record.success
    assert record.policy.checkpoint == f"zoo:{name}"


@every_measured_policy
def test_what_was_measured_is_of_the_bundled_weights(name, policies):
    measured = json.loads((checkpoint_folder(name) / "success.json").read_text())
    assert measured["checkpoint_hash"] == policies(name).info.checkpoint_hash
    assert set(measured["tasks"]) == set(lessons().tasks)


def test_tasks_are_grouped_by_what_tells_them_apart():
    assert [group_of(t) for t in ("plate-slide", "faucet-open", "multi/faucet-left")] == [
        "unique",
        "shared",
        "multi",
    ]


def test_the_page_shows_the_table_of_the_bundled_policies():
    lines = [line for line in chain(table.tables().splitlines()) if line]
    page = PAGE.read_text().splitlines()
    assert [line for line in lines if line not in page] == []

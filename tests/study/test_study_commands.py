"""`vlascope study` and `vlascope report`, as they are typed."""

import json
from pathlib import Path

import pytest

from vlascope.cli import main

TOY = str(Path(__file__).parent / "toy.yaml")


def typed(capsys, *arguments):
    """Exit code, standard output and error."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out, printed.err


def test_a_sound_study_is_said_to_be(capsys):
    code, out, _ = typed(capsys, "study", "validate", TOY)
    assert code == 0
    assert "17 arms, 432 episodes" in out


def test_a_mistake_is_one_message_that_points_at_it(capsys):
    code, _, err = typed(capsys, "study", "validate", TOY, "--set", "benchmark.name=toi")
    assert code == 2
    assert "--set benchmark.name=toi" in err
    assert "did you mean 'toy'" in err


@pytest.mark.slow
def test_a_plan_says_what_it_takes(capsys):
    code, out, _ = typed(capsys, "study", "plan", TOY)
    assert code == 0
    assert "432 episodes; at most about" in out
    assert "GB of activations" in out


@pytest.mark.slow
def test_a_plan_is_also_one_json_object(capsys):
    code, out, _ = typed(capsys, "plan", TOY, "--arm", "vlm", "--json")
    assert code == 0
    (share,) = json.loads(out)["policies"]
    arms = {arm["arm"]: arm for arm in share["arms"]}
    assert (
        arms["vlm"]["activation_gigabytes"] == 0 < arms["baseline.source"]["activation_gigabytes"]
    )
    assert share["total"]["episodes"] == sum(arm["episodes"] for arm in share["arms"])
    assert 0 < share["policy_gigabytes"] < 0.001


@pytest.mark.slow
def test_a_run_says_what_it_took_and_its_status_can_be_asked(capsys, tmp_path):
    small = ("--set", "seeds=0", "--arm", "baseline")
    code, out, _ = typed(capsys, "study", "run", TOY, "--out", tmp_path, *small, "--quiet")
    assert code == 0
    assert "6 episodes in" in out
    assert "time at work: physics" in out
    code, out, _ = typed(capsys, "study", "status", tmp_path, "--json")
    found = json.loads(out)
    assert (code, found["finished"], found["active"]) == (0, 6, 1)
    assert found["remaining_seconds"] > 0


@pytest.mark.slow
def test_shards_add_up_to_the_study(capsys, tmp_path):
    for shard in ("1/2", "2/2"):
        code, _, err = typed(
            capsys, "study", "run", TOY, "--out", tmp_path, "--arm", "baseline",
            "--shard", shard, "--quiet", "--set", "seeds=0-1", "--set", "workers=1",
        )  # fmt: skip
        assert code == 0, err
    assert typed(capsys, "report", tmp_path)[0] == 0
    assert "| baseline | toy | 1.00 [0.76, 1.00], n = 12 |" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("shard", ["0/2", "3/2", "one"])
def test_a_shard_is_i_of_n(capsys, tmp_path, shard):
    code, _, err = typed(capsys, "study", "run", TOY, "--out", tmp_path, "--shard", shard)
    assert code == 2
    assert "I/N" in err


def test_a_folder_without_a_study_has_no_report(capsys, tmp_path):
    code, _, err = typed(capsys, "report", tmp_path)
    assert code == 2
    assert "no study was run there" in err

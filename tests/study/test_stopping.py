"""An arm ends when its answer is clear, and the report says so with an interval that allows it."""

from pathlib import Path

import pytest

from vlascope.errors import StudyFileError
from vlascope.report import collect
from vlascope.rollout import read_episodes
from vlascope.statistics.sequential import ANYTIME
from vlascope.study.design import design
from vlascope.study.execution import run_study
from vlascope.study.loading import load_study
from vlascope.study.stopping import rounds_of

TOY = Path(__file__).parent / "toy.yaml"
SMALL = (
    "seeds=0-29", 'tasks=["shared/red"]', "workers=1", "findings={}", "groups={}", "report={}",
    'arms={baseline: {}, null_prompt: {prompt: ""}, other_words: {prompt: {paraphrase: 1}}}',
    "pairings={}", "max_steps=20",
)  # fmt: skip
RULE = "stop={arms: [null_prompt, other_words], against: baseline, every: 4}"


def test_a_seed_counts_once_all_of_its_tasks_have_a_value():
    values = {("a", 0): 1.0, ("b", 0): 0.0, ("a", 1): 1.0, ("b", 1): None, ("a", 2): 1.0}
    assert rounds_of(values) == ([0.5, 1.0], 3)


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("stop={arms: [null_prompt]}", "say when the answer is clear"),
        ("stop={against: basline}", "did you mean 'baseline'"),
        ("stop={agianst: baseline}", "did you mean 'against'"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule, complaint):
    with pytest.raises(StudyFileError, match=complaint):
        load_study(TOY, [*SMALL, rule])


def test_shards_cannot_stop_early():
    with pytest.raises(StudyFileError, match="in one piece"):
        design(load_study(TOY, [*SMALL, RULE])).shard(0, 2)


@pytest.mark.slow
def test_an_arm_ends_when_it_is_clear_and_only_then(tmp_path):
    study = load_study(TOY, [*SMALL, RULE])
    outcome = run_study(study, tmp_path, progress=False)
    assert outcome.ok, outcome.complaints
    ended = outcome.arms["toy"]
    stopped = ended["null_prompt"].stopped
    assert stopped is not None
    assert "lies below 0" in stopped.answer
    assert ended["baseline"].stopped is ended["other_words"].stopped is None
    played = [r.plan.seed for r in read_episodes(tmp_path / "toy") if r.plan.arm == "null_prompt"]
    assert len(played) == stopped.episodes < 30
    before = (tmp_path / "toy" / "episodes.jsonl").read_bytes()
    again = run_study(study, tmp_path, progress=False)
    assert again.arms["toy"] == ended
    assert (tmp_path / "toy" / "episodes.jsonl").read_bytes() == before

    content = collect(tmp_path)
    lines = {line.arm: line.pooled for line in content.successes}
    assert lines["null_prompt"].method == lines["other_words"].method == ANYTIME
    assert lines["null_prompt"].n == stopped.episodes
    assert lines["null_prompt"].missing == 0
    assert lines["baseline"].method == "Wilson score interval"
    (effect,) = [e for e in content.effects if e.arm == "null_prompt" and e.metric == "success"]
    assert effect.comparison.difference.resolved
    assert effect.comparison.p is not None
    assert effect.comparison.p < 0.05
    (section,) = [s for s in content.sections if s.name == "stopping"]
    assert "1 arms stopped early" in section.sentences[0]

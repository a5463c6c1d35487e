"""Concepts as they are written: what holds when, and what bad writing gets."""

from __future__ import annotations

import numpy as np
import pytest

from vlascope.errors import FileMissing, InvalidName, UnknownName, UnusableActivations
from vlascope_probes.concepts.labelling import label, refuse_unusable
from vlascope_probes.concepts.scene import Episode
from vlascope_probes.concepts.vocabulary import load_vocabulary


def episode(name="e", *, text="open the drawer", hand=None, objects=None, **more):
    """Ten steps of standing still, unless said otherwise."""
    still = np.zeros((11, 3))
    tracks = {n: still + np.asarray(at, float) for n, at in (objects or {}).items()}
    return Episode(name, "task", text, 11, still if hand is None else hand, tracks, **more)


def rising(by=0.01):
    hand = np.zeros((11, 3))
    hand[:, 2] = np.arange(11) * by
    return hand


@pytest.fixture
def written(tmp_path):
    """The vocabulary that one file of a user makes."""

    def write(text, *, built_in=False):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return load_vocabulary(path, built_in=built_in)

    return write


@pytest.fixture
def holds(written):
    """Where one predicate holds in one episode."""

    def ask(predicate, *episodes):
        found = label(written(f"concepts: {{g: {{c: {{when: {predicate}}}}}}}"), list(episodes))
        return found.labelled["c"].truth[episodes[0].name].astype(int).tolist()

    return ask


def test_the_built_in_vocabulary_has_more_than_eighty_concepts_of_every_sort():
    vocabulary = load_vocabulary()
    assert len(vocabulary) >= 80
    groups = {concept.group for concept in vocabulary.concepts.values()}
    assert groups >= {"motion", "object", "relation", "gripper", "speed", "direction", "phase"}
    motions = "approach reach grasp lift transport place release push pull opening closing turn"
    assert set(f"{motions} insert retreat".split()) <= set(vocabulary.concepts)


def test_words_of_the_instruction_are_whole_words(holds):
    assert holds("{text_has: [open]}", episode()) == [1] * 11
    assert holds("{text_has: [draw, pen]}", episode()) == [0] * 11
    assert holds("{text_has: [pick up]}", episode(text="Pick up, the cup!")) == [1] * 11


def test_a_speed_is_that_of_the_next_steps_and_zero_at_the_end(holds):
    assert holds("{speed_up: {above: 0.005}}", episode(hand=rising())) == [1] * 10 + [0]
    assert holds("{height: {above: 0.045, below: 0.085}}", episode(hand=rising())) == (
        [0] * 5 + [1] * 4 + [0] * 2
    )


def test_quantiles_are_of_the_whole_run(holds):
    slow, fast = episode("slow", hand=rising(0.001)), episode("fast", hand=rising(0.01))
    assert holds('{height: {above: "75%"}}', slow, fast) == [0] * 11
    assert holds('{height: {above: "75%"}}', fast, slow) == [0] * 5 + [1] * 6


def test_objects_are_things_places_or_what_the_instruction_asks_for(holds):
    scene = {"drawer": (0, 0, 0.05), "cup": (0, 0, 2), "goal.red": (0, 0, 1)}
    e = episode(hand=rising(0.1), objects=scene, text="open the drawer")
    assert holds("{distance: {below: 0.1}}", e)[:3] == [1, 1, 0]
    assert sum(holds("{distance: {of: places, below: 0.05}}", e)) == 1
    assert holds("{offset_up: {of: asked, above: 0}}", e) == [0] + [1] * 10
    assert holds("{distance: {of: [cup], below: 1.5}}", e) == [0] * 6 + [1] * 5


def test_things_that_are_gone_are_neither_near_nor_moving(holds):
    e = episode(objects={"cup": (np.nan, 0, 0)})
    assert sum(holds("{distance: {below: 9}}", e)) == 0
    assert sum(holds("{object_speed: {above: -1}}", e)) == 11


def test_soon_and_since_look_ahead_and_back(holds):
    e = episode(holds={"drawer_open": np.arange(11) == 6})
    assert holds("{soon: {that: {holds: [drawer_*]}, within: 2}}", e) == (
        [0] * 4 + [1] * 3 + [0] * 4
    )
    assert holds("{since: {that: {holds: [drawer_*]}, within: 2}}", e) == (
        [0] * 6 + [1] * 3 + [0] * 2
    )
    assert holds("{since: {that: {holds: [drawer_*]}}}", e) == [0] * 6 + [1] * 5


@pytest.mark.parametrize(
    ("condition", "concept"),
    [
        ("drawer_open", "is_open"),
        ("door_unlocked", "is_open"),
        ("door_locked", "is_closed"),
        ("multi/close-drawer", "is_closed"),
        ("multi/press-button", "is_pressed"),
        ("handle_down", "is_pressed"),
    ],
)
def test_conditions_are_read_as_what_they_say(condition, concept):
    e = episode(holds={condition: np.arange(11) >= 8})
    names = ["is_open", "is_closed", "is_pressed"]
    labels = label(load_vocabulary().among(names), [e])
    found = {n: labels.labelled[n].truth.get("e", np.zeros(11)).sum() for n in names}
    assert found == {n: 3 if n == concept else 0 for n in names}


def test_combinations_say_what_they_say(holds):
    e = episode(hand=rising())
    high, late = "{height: {above: 0.045}}", "{time: {above: 7.5}}"
    assert holds(f"{{all: [{high}, {{not: {late}}}]}}", e) == [0] * 5 + [1] * 3 + [0] * 3
    assert holds(f"{{any: [{late}, {{time: {{below: 1}}}}]}}", e) == [1] + [0] * 7 + [1] * 3


def test_success_is_ahead_only_before_it_happens(holds):
    assert holds("{steps_to_success: {below: 3}}", episode(success_step=5)) == (
        [0] * 3 + [1] * 3 + [0] * 5
    )
    assert sum(holds("{steps_to_success: {below: 3}}", episode())) == 0


def test_the_gripper_is_read_by_its_name_and_relative_to_the_run(holds):
    wide = np.where(np.arange(11) < 5, 0.04, 0.01)
    e = episode(state={"proprio.gripper": wide}, ranges={"proprio.gripper": (0.01, 0.04)})
    assert holds("{gripper: {above: 0.7}}", e) == [1] * 5 + [0] * 6


def test_what_a_benchmark_does_not_offer_makes_a_concept_not_applicable(written):
    vocabulary = written(
        "concepts: {g: {grip: {when: {any: [{gripper: {below: 1}}, {time: {below: 3}}]}},"
        " never: {when: {text_has: [piano]}}, always: {when: {time: {above: -1}}},"
        " early: {when: {time: {below: 3}}}}}"
    )
    labels = label(vocabulary, [episode()])
    verdicts = {name: standing.verdict for name, standing in labels.standing.items()}
    assert verdicts == {
        "grip": "not applicable here",
        "never": "matches no moment",
        "always": "matches every moment",
        "early": "usable",
    }
    with pytest.raises(UnusableActivations, match=r"never .matches no moment.; always"):
        refuse_unusable(labels, ["early", "never", "always"])


def test_only_the_recorded_moments_count(written):
    vocabulary = written("concepts: {g: {early: {when: {time: {below: 3}}}}}")
    labels = label(vocabulary, [episode()], {"e": np.array([4, 8])})
    assert labels.standing["early"].verdict == "matches no moment"


def test_a_users_file_replaces_adds_and_takes_away(written):
    mine = written(
        "concepts: {mine: {fast: {when: {speed: {above: 1}}}, jump: {when: {concept: up}},"
        " slow: null}}\nsettings: {forward: -x}",
        built_in=True,
    )
    assert mine["fast"].group == "mine"
    assert "slow" not in mine.concepts
    assert mine.setting.axis("forward").tolist() == [-1, 0, 0]
    up = label(mine, [episode(hand=rising())]).labelled
    assert (up["jump"].truth["e"] == up["up"].truth["e"]).all()


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ("{when: {sped: {above: 1}}}", UnknownName, "speed"),
        ("{when: {speed: 3}}", InvalidName, "above"),
        ("{when: {speed: {above: fast}}}", InvalidName, "75%"),
        ("{when: {speed: {above: 1, of: things}}}", InvalidName, "not \\['of'\\]"),
        ("{when: {all: []}}", InvalidName, "list of predicates"),
        ("{when: {soon: {that: {time: {below: 1}}}}}", InvalidName, "within"),
        ("{when: {text_has: 3}}", InvalidName, "text"),
        ("{when: [a]}", InvalidName, "one word"),
        ("{about: nothing}", InvalidName, "`when`"),
        ("{when: {concept: c}}", InvalidName, "refers to itself: c -> c"),
        ("{when: {concept: graps}}", UnknownName, "graps"),
        ("{when: {time: {below: 1}}, measure: heigth}", UnknownName, "height"),
        ("{when: {time: {below: __import__}}}", InvalidName, "number"),
    ],
)
def test_bad_writing_is_refused_by_name(written, body, error, says):
    with pytest.raises(error, match=says):
        written(f"concepts: {{g: {{c: {body}}}}}")


def test_a_file_that_is_none_is_refused(written, tmp_path):
    with pytest.raises(FileMissing, match="nowhere"):
        load_vocabulary(tmp_path / "nowhere.yaml")
    for text in ("[1]", "concepts: [a]", "words: {}", "a: : b"):
        with pytest.raises(InvalidName):
            written(text)
    with pytest.raises(UnknownName, match="places"):
        written("settings: {place: [goal]}")
    with pytest.raises(InvalidName, match="axis up"):
        written("settings: {up: north}")

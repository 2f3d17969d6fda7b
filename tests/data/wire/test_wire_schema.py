"""The handshake's schema: what it covers, and the sentence when two differ."""

import json

import pytest

from warmloop.data.action_limits import ActionLimits
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example
from warmloop.data.wire.row_schema import Schema, difference, flatten, unflatten

SPEC = Spec((Leaf("image", (4, 4, 3), "uint8"), Leaf("state", (5,), "float32")), 3)
SCHEMA = Schema.of(SPEC, "Door-v1", 10)
LIMITED = Schema.of(SPEC, "Door-v1", 10, ActionLimits([-1.5, 0.0, -1.0], [2.0, 0.1, 1.0]))


def test_leaves_are_sorted_and_cover_the_whole_transition():
    names = [leaf.name for leaf in SCHEMA.leaves]
    assert names == sorted(names)
    assert set(names) == set(flatten(example(SPEC)))
    assert {"observation/image", "next_observation/state", "mc_return", "quality"} <= set(names)


def test_a_row_has_the_bytes_of_its_arrays():
    assert SCHEMA.row_bytes == sum(leaf.nbytes for leaf in flatten(example(SPEC)).values())


def test_the_text_gives_the_same_schema_and_hash_back():
    again = Schema.from_json(SCHEMA.json)
    assert again == SCHEMA
    assert again.hash == SCHEMA.hash
    assert len(SCHEMA.hash) == 32


def test_the_hash_does_not_depend_on_how_the_numbers_were_given():
    assert Schema.of(SPEC, "Door-v1", 10.0).hash == SCHEMA.hash


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Schema.of(SPEC, "Hammer-v1", 10), ["environment", "Door-v1", "Hammer-v1"]),
        (Schema.of(SPEC, "Door-v1", 20), ["control rate", "10.0", "20.0"]),
        (Schema.of(Spec(SPEC.observation, 4), "Door-v1", 10), ['"action"', "[3]", "[4]"]),
        (Schema.of(Spec(SPEC.observation[1:], 3), "Door-v1", 10), ['"next_observation/image"', "absent"]),
        (Schema(SCHEMA.leaves, "Door-v1", 10.0, (0.0, 1.0)), ["action range", "(0.0, 1.0)"]),
        (Schema(SCHEMA.leaves[::-1], "Door-v1", 10.0), ["another order"]),
    ],
)
def test_a_difference_is_named_and_changes_the_hash(other, words):
    sentence = difference(SCHEMA, other)
    assert sentence is not None
    assert all(word in sentence for word in words), sentence
    assert other.hash != SCHEMA.hash


def test_action_limits_are_part_of_it_and_a_difference_says_what_the_actor_must_set():
    assert Schema.from_json(LIMITED.json) == LIMITED and LIMITED.hash != SCHEMA.hash
    assert "action_limits" not in SCHEMA.json, "without limits nothing changes for what was recorded before"
    sentence, reverse = str(difference(LIMITED, SCHEMA)), str(difference(SCHEMA, LIMITED))
    assert "[-1.5, 0, -1] to [2, 0.1, 1] and the actor's the action space's own; start the actor with" in sentence
    assert "'--config.environment.action_low=(-1.5, 0.0, -1.0)' '--config.environment.action_high=(2.0, 0.1, 1.0)'" in sentence
    assert "start the actor with no environment.action_low" in reverse


def test_equal_schemas_do_not_differ():
    assert difference(SCHEMA, Schema.from_json(SCHEMA.json)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        json.dumps({"leaves": [["a", "b"]]}),
        SCHEMA.json.replace("float32", "no-such-type"),
        SCHEMA.json.replace("10.0", "1" + 400 * "0"),
        SCHEMA.json.replace("[3]", "[Infinity]"),
        LIMITED.json.replace("0.1", "NaN"),
    ],
)
def test_a_text_that_is_no_schema_is_refused(text):
    with pytest.raises(WarmloopError, match="cannot be read"):
        Schema.from_json(text)


def test_flattening_is_undone():
    rows = example(SPEC, 2)
    again = unflatten(flatten(rows))
    assert set(again.observation) == {"image", "state"}
    assert again.reward is rows.reward

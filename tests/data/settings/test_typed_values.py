"""Typed values: what was saved of a dataclass makes the same one again, and any mistake in it is a sentence that says where."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmloop.data.errors import WarmloopError
from warmloop.data.settings.typed_values import decoded, of_text


@dataclasses.dataclass(frozen=True)
class Lens:
    width: float = 1.0
    kind: str = "wide"


@dataclasses.dataclass(frozen=True)
class Rig:
    name: str
    lens: Lens = Lens()
    spare: Lens | None = None
    lenses: tuple[Lens, ...] = ()
    sizes: tuple[int, ...] = (3,)
    pair: tuple[int, str] = (1, "a")
    goals: tuple[tuple[float, ...], ...] = ()
    on: bool = False
    limit: int | None = None
    bare: tuple = ()
    rows: list[int] = dataclasses.field(default_factory=list)
    said: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    either: tuple[str, ...] | Mapping[str, Any] = ()
    count: int = dataclasses.field(default=0, init=False)

    def __post_init__(self):
        if self.limit is not None and self.limit < 0:
            raise WarmloopError("limit is below 0.")


NUMBERS, WORDS, FLOATS = st.integers(-9, 9), st.text(max_size=4), st.floats(allow_nan=False)
LENSES = st.builds(Lens, FLOATS, WORDS)
JSON = st.none() | st.booleans() | NUMBERS | FLOATS | WORDS | st.lists(NUMBERS, max_size=2) | st.dictionaries(WORDS, NUMBERS, max_size=2)
RIGS = st.builds(
    Rig,
    name=WORDS,
    lens=LENSES,
    spare=st.none() | LENSES,
    lenses=st.lists(LENSES, max_size=3).map(tuple),
    sizes=st.lists(NUMBERS, max_size=3).map(tuple),
    pair=st.tuples(NUMBERS, WORDS),
    goals=st.lists(st.lists(FLOATS, max_size=2).map(tuple), max_size=2).map(tuple),
    on=st.booleans(),
    limit=st.none() | st.integers(0, 9),
    bare=st.lists(WORDS, max_size=2).map(tuple),
    rows=st.lists(NUMBERS, max_size=2),
    said=st.dictionaries(WORDS, NUMBERS | WORDS, max_size=2),
    either=st.lists(WORDS, max_size=2).map(tuple) | st.dictionaries(WORDS, NUMBERS, max_size=2),
)

UNCHECKED = ("bare", "rows", "said", "either")  # taken as they are
DECLARED = {  # whether a field is of its type
    "name": lambda value: type(value) is str,
    "lens": lambda value: type(value) is Lens,
    "spare": lambda value: value is None or type(value) is Lens,
    "lenses": lambda value: {type(value), *map(type, value)} <= {tuple, Lens},
    "sizes": lambda value: {type(value), *map(type, value)} <= {tuple, int},
    "pair": lambda value: type(value) is tuple and [*map(type, value)] == [int, str],
    "goals": lambda value: all({type(goal), *map(type, goal)} <= {tuple, float} for goal in value),
    "on": lambda value: type(value) is bool,
    "limit": lambda value: value is None or type(value) is int,
}


def plain(rig):
    """What JSON keeps of a rig."""
    values = json.loads(json.dumps(dataclasses.asdict(rig)))
    del values["count"]
    return values


@given(RIGS)
def test_what_was_saved_of_a_dataclass_makes_the_same_one_again(rig):
    again = decoded(Rig, plain(rig), "rig")
    assert again == rig and plain(again) == plain(rig)


@given(RIGS, st.data())
def test_any_value_in_place_of_another_is_of_the_declared_type_or_refused_with_its_place(rig, data):
    values = plain(rig)
    name = data.draw(st.sampled_from(sorted(values)))
    values[name] = data.draw(JSON)
    try:
        made = decoded(Rig, values, "rig")
    except WarmloopError as error:
        assert f"rig.{name}" in str(error) or "limit is below 0" in str(error)
    else:
        assert name in UNCHECKED or DECLARED[name](getattr(made, name))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"nme": "x"}, "There is no setting rig.nme; did you mean name?"),
        ({"name": "x", "lens": {"kidn": "x"}}, "There is no setting rig.lens.kidn; did you mean kind?"),
        ({"name": "x", "lens": {"zzzzz": "x"}}, "There is no setting rig.lens.zzzzz; there are width, kind."),
        ({"name": "x", 3: "x"}, "There is no setting rig.3; there are name, lens, "),
        ({"name": "x", "count": 1}, "There is no setting rig.count; "),
        ({}, "rig has no name, which it needs."),
        ([], "rig is []; it must be of type Rig."),
        ({"name": 3}, "rig.name is 3; it must be of type str."),
        ({"name": "x", "lens": "wide"}, "rig.lens is 'wide'; it must be of type Lens."),
        ({"name": "x", "lens": None}, "rig.lens is None; it must be of type Lens."),
        ({"name": "x", "lens": {"width": True}}, "rig.lens.width is True; it must be of type float."),
        ({"name": "x", "spare": {"width": "2"}}, "rig.spare.width is '2'; it must be of type float."),
        ({"name": "x", "lenses": [{}, {"kind": 1}]}, "rig.lenses[1].kind is 1; it must be of type str."),
        ({"name": "x", "sizes": 3}, "rig.sizes is 3; it must be a list."),
        ({"name": "x", "sizes": [1, 2.5]}, "rig.sizes[1] is 2.5; it must be of type int."),
        ({"name": "x", "sizes": [True]}, "rig.sizes[0] is True; it must be of type int."),
        ({"name": "x", "pair": [1]}, "rig.pair is [1]; it must be a list of 2."),
        ({"name": "x", "pair": [1, 2]}, "rig.pair[1] is 2; it must be of type str."),
        ({"name": "x", "goals": [[1], ["a"]]}, "rig.goals[1][0] is 'a'; it must be of type float."),
        ({"name": "x", "limit": 1.0}, "rig.limit is 1.0; it must be of type int."),
        ({"name": "x", "limit": -1}, "limit is below 0."),
    ],
)
def test_a_mistake_is_a_sentence_that_says_where(values, says):
    with pytest.raises(WarmloopError) as error:
        decoded(Rig, values, "rig")
    assert says in str(error.value)


def test_a_whole_number_is_a_float_and_a_list_a_tuple_wherever_the_type_allows():
    made = decoded(Rig, {"name": "x", "lens": {"width": 2}, "bare": [1], "rows": [1], "said": {"a": [1]}, "either": ["a"]}, "rig")
    assert type(made.lens.width) is float and made.bare == (1,) and made.either == ("a",)
    assert made.rows == [1] and made.said == {"a": [1]}, "what is no tuple stays a list"


@pytest.mark.parametrize(
    ("kind", "text", "value"), [(bool, "True", True), (bool, "false", False), (int, "-3", -3), (float, "1e-3", 1e-3), (str, "3", "3")]
)
def test_a_text_is_read_as_its_type(kind, text, value):
    assert of_text(kind, text) == value and type(of_text(kind, text)) is kind


@pytest.mark.parametrize(("kind", "text"), [(bool, "1"), (bool, ""), (int, "1.5"), (int, "many"), (float, "")])
def test_a_text_of_another_type_is_an_error(kind, text):
    with pytest.raises(ValueError, match=r".+"):
        of_text(kind, text)


def test_a_dataclass_may_make_itself():
    @dataclasses.dataclass(frozen=True)
    class Own:
        text: str

        @classmethod
        def from_plain(cls, values, where):
            return cls(f"{where}={values}")

    holder = dataclasses.make_dataclass("Holder", [("own", Own)], frozen=True)
    assert decoded(holder, {"own": 3}, "holder").own == Own("holder.own=3")

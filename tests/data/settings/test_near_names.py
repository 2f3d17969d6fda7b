"""Near names: the closest first, whatever their case, and each way in which a sentence may end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmloop.data.settings.near_names import closest_names, did_you_mean

KNOWN = ("train", "trial", "Test", "validation")
NAMES = st.lists(st.text(st.characters(categories=("Ll", "Lu")), min_size=1, max_size=8), max_size=6)


def test_the_closest_names_come_first_and_case_does_not_count():
    assert closest_names("traain", KNOWN) == ["train", "trial"]
    assert closest_names("traain", KNOWN, 1) == ["train"]
    assert closest_names("TEST", KNOWN, 1) == ["Test"]
    assert closest_names("zzz", KNOWN) == closest_names("traain", ()) == []


@pytest.mark.parametrize(
    ("name", "how", "end"),
    [
        ("traain", {}, "; did you mean train or trial?"),
        ("traain", {"one": True}, '; did you mean "train"?'),
        ("traain", {"prefix": "set:"}, "; did you mean set:train or set:trial?"),
        ("traain", {"listing": True, "otherwise": "!"}, "; did you mean train or trial?"),
        ("zzz", {}, "."),
        ("zzz", {"one": True, "listing": True}, "; there are train, trial, Test, validation."),
        ("zzz", {"otherwise": "; `x` lists them."}, "; `x` lists them."),
    ],
)
def test_a_sentence_ends_with_near_names_or_as_its_writer_says(name, how, end):
    assert did_you_mean(name, KNOWN, **how) == end
    assert did_you_mean(name, iter(KNOWN), **how) == end, "known names may be read once only"


@given(NAMES, st.text(max_size=8))
def test_only_known_names_are_shown_and_a_known_one_is_its_own_closest(known, name):
    assert set(closest_names(name, known)) <= set(known) and len(closest_names(name, known)) <= 3
    for one in known:
        assert closest_names(one, known)[0].lower() == one.lower()

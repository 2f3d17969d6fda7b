"""What a run, an actor, a stream and a row of a sweep may be called."""

import pytest

from warmloop.data.errors import WarmloopError
from warmloop.data.files.names import check_name, folder_name, is_identifier


@pytest.mark.parametrize("name", ["door", "door-2", "Türe öffnen", "...", "v1.2_final", "-x"])
def test_a_plain_name_is_a_name(name):
    assert check_name(name, "the run with --exp_name", "--exp_name=door") == name


@pytest.mark.parametrize("name", ["", None, ".", "..", "a/b", "/", "a\\b", "../door", "a\0", "a\n", " a", "a ", "a\t", "x" * 101, 7])
def test_what_leads_elsewhere_or_is_absurd_is_refused_and_the_flag_named(name):
    with pytest.raises(WarmloopError, match="Name the run with --exp_name, as in --exp_name=door") as caught:
        check_name(name, "the run with --exp_name", "--exp_name=door")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@pytest.mark.parametrize("name", ["", ".", "..", "-a", ".a", "a/b", "a\n", "ä", "x" * 65, "a b", "a\0"])
def test_what_comes_over_the_network_and_becomes_a_file_is_stricter(name):
    assert not is_identifier(name)


@pytest.mark.parametrize("text", [".", "..", "", "a/b", "cql actor_lr=0.1", "x" * 300, "ü" * 300, "hidden=(256, 256)"])
def test_any_text_becomes_one_short_folder_within_its_parent(text, tmp_path):
    folder = tmp_path / folder_name(text)
    folder.mkdir()
    assert folder.resolve().parent == tmp_path.resolve()


def test_long_texts_with_one_beginning_become_different_folders():
    assert folder_name("x" * 300 + "a") != folder_name("x" * 300 + "b")

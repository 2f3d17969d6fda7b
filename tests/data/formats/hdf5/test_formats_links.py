"""HDF5 links are followed to their end before they are allowed: inside the file they are read, elsewhere refused, and nothing is opened."""

import os
import shutil
import time

import h5py
import numpy as np
import pytest
from broken import fixture, refused

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.formats.hdf5.hdf5 import opened
from warmloop.data.formats.hdf5.hdf5_links import follow


@pytest.fixture
def path(tmp_path):
    return fixture("d4rl-next.hdf5")(tmp_path)


def moved(path, name, link, to="kept"):
    """Puts an array elsewhere in its file, and a link in its place."""
    with h5py.File(path, "a") as file:
        file.move(name, to)
        file[name] = link


def same(path, other):
    for one, two in zip(load_episodes(path), load_episodes(other), strict=True):
        assert np.array_equal(one.steps.observation, two.steps.observation) and np.array_equal(one.steps.reward, two.steps.reward)


@pytest.mark.parametrize("link", ["/kept", "kept", "./kept", "/group/soft"])
def test_a_soft_link_inside_the_file_is_followed(tmp_path, path, link):
    whole = shutil.copy(path, tmp_path / "whole.hdf5")
    with h5py.File(path, "a") as file:
        file["group/soft"] = h5py.SoftLink("/kept")
    moved(path, "observations", h5py.SoftLink(link))
    same(path, whole)


def test_a_hard_link_is_the_array_itself(tmp_path, path):
    whole = shutil.copy(path, tmp_path / "whole.hdf5")
    with h5py.File(path, "a") as file:
        file["other"] = file["rewards"]
    same(path, whole)


def pipe(tmp_path):
    """A file that never ends to be opened."""
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


@pytest.mark.parametrize(
    "links",
    [
        lambda other: {"observations": h5py.ExternalLink(other, "/x")},
        lambda other: {"observations": h5py.SoftLink("/elsewhere/x"), "elsewhere": h5py.ExternalLink(other, "/")},
        lambda other: {"observations": h5py.SoftLink("/one"), "one": h5py.SoftLink("/two"), "two": h5py.ExternalLink(other, "/x")},
        lambda other: {"observations": h5py.SoftLink("/group/inner/x"), "group/inner": h5py.ExternalLink(other, "/")},
    ],
    ids=["itself", "a group on the way", "two soft links before", "in a group"],
)
def test_what_ends_in_another_file_is_refused_and_that_file_is_never_opened(tmp_path, path, links):
    other = pipe(tmp_path)
    with h5py.File(path, "a") as file:
        del file["observations"]
        for name, link in links(other).items():
            file[name] = link
    assert f"`observations` is a link to {other}, which is not followed" in refused(path)


@pytest.mark.parametrize("name", ["data", "mask"])
def test_a_group_that_is_a_link_into_another_file_is_refused(tmp_path, name):
    path, other = fixture("robomimic.hdf5")(tmp_path), pipe(tmp_path)
    with h5py.File(path, "a") as file:
        file.move(name, "kept")
        file[name] = h5py.ExternalLink(other, f"/{name}")
    with pytest.raises(WarmloopError) as caught:
        load_episodes(f"{path}::train" if name == "mask" else path)
    assert f"`{name}` is a link to {other}" in str(caught.value) or "neither D4RL's" in str(caught.value)


def test_a_link_beside_the_data_is_not_looked_at(tmp_path, path):
    whole = shutil.copy(path, tmp_path / "whole.hdf5")
    with h5py.File(path, "a") as file:
        file["notes"], file["more"] = h5py.ExternalLink(pipe(tmp_path), "/x"), h5py.SoftLink("/nothing")
    same(path, whole)


@pytest.mark.parametrize("link", ["/nothing", "/observations", "/loop", "/rewards/x"])
def test_a_soft_link_to_nothing_or_in_a_circle_is_refused(path, link):
    with h5py.File(path, "a") as file:
        del file["observations"]
        file["loop"], file["observations"] = h5py.SoftLink("/loop"), h5py.SoftLink(link)
    assert "`observations` is a link to nothing" in refused(path)


def test_a_group_that_holds_itself_is_refused(path):
    with h5py.File(path, "a") as file:
        del file["observations"]
        inner = file.create_group("observations/robot")
        inner["again"] = file["observations"]
        inner["joints"] = np.zeros((12, 2))
    assert "leads back to a group that was read before" in refused(path)


def test_groups_that_hold_one_another_many_times_over_do_not_take_for_ever(path):
    begun = time.process_time()
    with h5py.File(path, "a") as file:
        del file["observations"]
        below = file.create_group("level_0")
        below["joints"] = np.zeros((12, 2))
        for number in range(1, 30):
            level = file.create_group(f"level_{number}")
            level["left"] = level["right"] = below
            below = level
        file["observations"] = below
    assert "leads back to a group that was read before" in refused(path)
    assert time.process_time() - begun < 5


def test_groups_that_lie_too_deep_are_refused(path):
    with h5py.File(path, "a") as file:
        del file["observations"]
        file["/".join(["observations", *("a" * 60)])] = np.zeros((12, 2))
    assert "groups lie too deep" in refused(path)


def test_a_virtual_array_is_refused_also_of_its_own_file(path):
    with h5py.File(path, "a") as file:
        shape = file["observations"].shape
        file.move("observations", "kept")
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource(".", "kept", shape)
        file.create_virtual_dataset("observations", layout)
    assert "the values of `observations` lie in other files or arrays; copy them into this one" in refused(path)


def test_following_says_none_of_what_is_not_there(path):
    with opened(str(path)) as file:
        assert follow("file", file.id, "nothing") is None and follow("file", file.id, "rewards") is not None

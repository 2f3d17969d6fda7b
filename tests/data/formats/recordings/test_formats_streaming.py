"""Files are read in pieces: the same episodes whatever a piece holds, and in memory that does not grow with the file."""

import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import iterate_episodes, load_episodes, npy, read_pieces
from warmloop.data.formats.recordings import flat, recording

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
STREAMED = ["d4rl.hdf5", "d4rl-next.hdf5", "robomimic.hdf5", "d3rlpy.h5", "d3rlpy-tuple.h5"]
MEBIBYTE = 1 << 20


def same(some, others):
    assert [(e.number, e.task, e.source) for e in some] == [(e.number, e.task, e.source) for e in others]
    for one, other in zip(some, others, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one.steps, other.steps)
        np.testing.assert_array_equal(one.success, other.success)
        jax.tree.map(np.testing.assert_array_equal, dict(one.extras), dict(other.extras))


def flat_arrays(rows=2000, length=40, width=6, **more):
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((rows + 1, width)).astype(np.float32)
    return {
        "observations": numbers[:-1],
        "next_observations": numbers[1:],
        "actions": rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "rewards": np.arange(rows, dtype=np.float32),
        "terminals": np.arange(rows) % length == length - 1,
        "timeouts": np.zeros(rows, bool),
    } | more


@pytest.mark.parametrize("name", STREAMED)
def test_the_pieces_of_a_file_are_its_episodes_whatever_their_size(name, monkeypatch):
    whole = load_episodes(FIXTURES / name)
    monkeypatch.setattr(flat, "PIECE_BYTES", 1)
    assert len(list(read_pieces(FIXTURES / name))) == len(whole)
    same(load_episodes(FIXTURES / name), whole)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("left_out", [(), ("timeouts",), ("next_observations",), ("timeouts", "terminals")])
def test_an_npz_file_is_the_same_in_pieces(tmp_path, monkeypatch, save, left_out):
    path = tmp_path / "a.npz"
    arrays = flat_arrays(observations=np.asfortranarray(flat_arrays()["observations"]), timestamps=np.arange(2000) / 7)
    save(path, **{name: array for name, array in arrays.items() if name not in left_out})
    whole = load_episodes(path)
    monkeypatch.setattr(flat, "PIECE_BYTES", 5000)
    monkeypatch.setattr(recording, "ROWS_PER_CHUNK", 7)
    assert ("terminals" in left_out) or len(list(read_pieces(path))) > 10
    same(load_episodes(path), whole)
    np.testing.assert_array_equal(whole[0].extras["timestamps"][:5], np.arange(5) / 7)


def test_rows_of_an_archived_array_may_be_asked_for_in_any_order(tmp_path):
    table = np.random.default_rng(0).standard_normal((100, 3))
    np.savez_compressed(tmp_path / "a.npz", table=table)
    with npy.opened(str(tmp_path / "a.npz")) as archive:
        array = npy.ArchivedArray("a.npz", archive, "table")
        for rows in (slice(10, 20), slice(20, 21), slice(50, 60), slice(0, 5), slice(95, None), slice(None)):
            np.testing.assert_array_equal(array[rows], table[rows])


def test_a_bit_flipped_in_the_last_piece_is_found(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, **flat_arrays())
    with zipfile.ZipFile(path) as archive:
        after = archive.getinfo("next_observations.npy").header_offset
    content = bytearray(path.read_bytes())
    content[after - 9] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(flat, "PIECE_BYTES", 5000)
    with pytest.raises(WarmloopError, match=r"a.npz is not a readable .npz file .*CRC"):
        load_episodes(path)


def test_a_header_that_claims_more_than_the_archive_holds_is_refused_at_once(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **flat_arrays())
    rewritten = tmp_path / "b.npz"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(rewritten, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"(2000,", b"(2000000000000,").replace(b" " * 9 + b"\n", b"\n"))
    with pytest.raises(WarmloopError, match="is shorter than its header says"):
        load_episodes(rewritten)


def test_the_episodes_before_a_wrong_one_are_given_out_one_by_one_and_never_as_a_list(tmp_path, monkeypatch):
    arrays = flat_arrays()
    arrays["rewards"][1999] = np.nan
    np.savez(tmp_path / "a.npz", **arrays)
    monkeypatch.setattr(flat, "PIECE_BYTES", 1)
    episodes = iterate_episodes(tmp_path / "a.npz")
    assert [next(episodes).number for _ in range(49)] == list(range(49))
    with pytest.raises(WarmloopError, match="episode 49, step 39: `rewards` holds nan"):
        next(episodes)
    with pytest.raises(WarmloopError):
        load_episodes(tmp_path / "a.npz")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says how much memory a process had at most")
@pytest.mark.parametrize("name", ["a.npz", "a.hdf5"])
def test_a_file_is_walked_through_and_inspected_in_memory_that_it_does_not_fit_into(tmp_path, name):
    path, rows, width = tmp_path / name, 400_000, 100  # 320 MB of observations
    arrays = flat_arrays(rows, 500, width)
    if name.endswith("npz"):
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file[key] = array
    program = f"""
        from pathlib import Path
        from warmloop.data.formats import iterate_episodes, load_episodes
        from warmloop.data.inspection import inspect
        from warmloop.data.episode import make_steps
        inspect({str(FIXTURES / "d4rl.hdf5")!r})
        def peak():  # getrusage would begin with the parent's
            return int(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
        before = peak()
        assert sum(map(len, iterate_episodes({str(path)!r}))) == {rows}
        walked = peak() - before
        assert inspect({str(path)!r}).summary.steps == {rows}
        inspected = peak() - before
        print(walked, inspected)
    """
    said = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True).stdout.split()
    assert path.stat().st_size > 320 * 10**6
    assert max(map(int, said)) < 260 * 1024, said

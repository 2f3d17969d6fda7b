"""A path that cannot be read is one sentence, whatever is wrong with it; a device is neither read nor replaced."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from permissions import as_any_owner

from warmloop.data.errors import WarmloopError
from warmloop.data.files.sealed_json import unseal
from warmloop.data.files.whole_files import check_path, replacing, require_file
from warmloop.data.formats import content_of, load_episodes, parse_source_argument
from warmloop.data.inspection import is_quarantine

HELPERS = Path(__file__).resolve().parents[2] / "helpers"


def refusal(call, *arguments):
    with pytest.raises(WarmloopError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("call", [load_episodes, content_of, is_quarantine])
def test_what_cannot_be_a_path_is_refused_in_a_sentence(tmp_path, call):
    os.symlink("loop", tmp_path / "loop")
    for path, said in (
        ("a" * 300, "File name too long"),
        ("a/" * 5000, "File name too long"),
        (str(tmp_path / "loop"), "Too many levels of symbolic links"),
        ("a\0b", "is no path"),
        ("~nobody-of-that-name/a.npz", "write the path in full"),
    ):
        assert said in refusal(call, path) and len(refusal(call, path)) < 300
    assert "File name too long" in refusal(parse_source_argument, "a=" + "a" * 300)


def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path / "pipe.npz", "/dev/zero", "/dev/null"):
        for call in (load_episodes, is_quarantine, content_of):
            said: list[str] = []
            thread = threading.Thread(target=lambda call=call, path=path, said=said: said.append(refusal(call, str(path))), daemon=True)
            thread.start()
            thread.join(20)
            assert said and "is a device or a pipe" in said[0]


def test_a_pipe_keeps_its_place_where_a_file_would_be_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WarmloopError, match="device or a pipe"), replacing(tmp_path / "pipe"):
        pass
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode) and os.listdir(tmp_path) == ["pipe"]


def test_a_folder_is_told_from_what_is_not_there(tmp_path):
    (tmp_path / "a.npz").mkdir()
    assert "a.npz is a folder, and a file is needed" in refusal(require_file, tmp_path / "a.npz")


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(1))
    os.chmod(tmp_path / "a.npz", 0)
    assert "Permission denied" in as_any_owner(refusal, check_path, tmp_path / "a.npz")


def test_a_link_in_the_place_of_a_half_written_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / f".a.{os.getpid()}.part").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"), replacing(tmp_path / "a"):
        pass
    assert (tmp_path / "precious").read_text() == "years of work"


@pytest.mark.parametrize("text", ["[" * 60_000, '{"a":' * 60_000, "1" * 5000])
def test_a_sealed_text_that_python_cannot_parse_is_damaged(text):
    with pytest.raises(WarmloopError, match=r"config\.json is damaged"):
        unseal(text, "config.json", "restore it from a copy")


FULL = """if True:
    import resource, sys
    import numpy as np
    from recorded import episode
    from warmloop.data.errors import WarmloopError
    from warmloop.data.formats import write_episodes
    episodes = [episode(200, number) for number in range(20)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    for path in sys.argv[1:]:
        try:
            write_episodes(path, episodes)
        except WarmloopError as error:
            print(error)
"""


@pytest.mark.long
def test_a_disk_without_room_is_a_sentence_in_every_format_and_leaves_nothing(tmp_path):
    """HDF5 would end the process by a segmentation fault."""
    paths = [str(tmp_path / name) for name in ("full-v0", "full.npz", "full.pkl", "full.lerobot")]
    environment = os.environ | {"PYTHONPATH": str(HELPERS)}
    done = subprocess.run([sys.executable, "-c", FULL, *paths], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-500:]
    said = done.stdout.splitlines()
    assert [line.partition(" could not be written")[0] for line in said] == paths and all("File too large" in line for line in said)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_what_a_terminal_cannot_show_is_no_error(tmp_path):
    """A name in another encoding on a terminal that knows ASCII alone, in the text and in the page."""
    name = os.fsencode(tmp_path) + b"/\xfc\xe4.npz"
    with open(name, "wb") as file:
        rng = np.random.default_rng(0)
        arrays = {"observations": rng.normal(size=(9, 3)), "actions": rng.uniform(-1, 1, (9, 2)), "rewards": np.zeros(9)}
        np.savez(file, **arrays, timeouts=np.arange(9) % 3 == 2)
    command = [sys.executable, "-m", "warmloop.launch.inspect_data", name, f"--html={tmp_path / 'page.html'}", "--env=none"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(command, capture_output=True, timeout=180, env=environment)
    assert done.returncode in (0, 1) and b"Traceback" not in done.stderr, done.stderr[-500:]
    assert b"episodes       3" in done.stdout and "??.npz" in (tmp_path / "page.html").read_text()

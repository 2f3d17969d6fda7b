"""A path that cannot be read is one sentence, whatever is wrong with it; a device is neither read nor replaced."""

import os
import stat
import threading

import numpy as np
import pytest

from warmloop.data.errors import WarmloopError
from warmloop.data.files.whole_files import check_path, replacing, require_file
from warmloop.data.formats import content_of, load_episodes, parse_source_argument
from warmloop.data.inspection import is_quarantine
from warmloop.launch.inspect_data import check_outputs


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(1))
    os.chmod(tmp_path / "a.npz", 0)
    assert "Permission denied" in refusal(check_path, tmp_path / "a.npz")


def test_outputs_of_inspect_data_take_no_inputs_place_nor_each_others(tmp_path):
    original, other = tmp_path / "a.npz", tmp_path / "b.npz"
    np.savez(original, a=np.zeros(1))
    os.symlink(original, tmp_path / "link.html")
    for outputs, said in (
        ({"--html": original}, "is the original"),
        ({"--html": None, "--fix": original}, "is the original"),
        ({"--html": tmp_path / "link.html"}, "is the original"),
        ({"--html": other, "--fix": other}, "is the file of --html as well"),
        ({"--html": tmp_path}, "is a folder"),
    ):
        assert said in refusal(check_outputs, [f"demos={original}"], outputs)
    check_outputs([str(original)], {"--html": tmp_path / "c.html", "--fix": other})

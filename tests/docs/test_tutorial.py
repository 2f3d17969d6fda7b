"""The tutorial as a newcomer follows it: every command of its pages, in order, in an empty folder."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from documents import DOCS, Block, blocks

from warmloop.learner.diagnosis.metrics import read

TUTORIAL = DOCS / "tutorial"
ORDER = ("environment", "collect", "inspect", "warmup", "finetune", "evaluate", "export", "deploy")
SECONDS = 400  # for one block, on a machine that does much else
PORT = 7400


def commands() -> list[Block]:
    """The shell blocks of the pages, in their order."""
    return [block for page in ORDER for block in blocks((TUTORIAL / f"{page}.md").read_text()) if block.language == "bash"]


def start(block: Block, folder: Path) -> subprocess.Popen:
    """A block in a shell of its own, whose commands are those of this interpreter; it fails at the first that does."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    settings = os.environ | {"PATH": path, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    with open(folder / "said.txt", "a") as log:
        line = ["bash", "-euc", block.text]
        return subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True, env=settings, start_new_session=True)


def follow(folder: Path) -> list[str]:
    """Runs all blocks; what each printed. The first terminal's goes on beside the second's, and ends by itself after it."""
    said, started = [], []
    try:
        for block in commands():
            started.append(start(block, folder))
            if block.title == "first terminal":
                continue
            for process in started[-2:] if block.title == "second terminal" else started[-1:]:
                said.append(process.communicate(timeout=SECONDS)[0])
                assert process.returncode == 0, f"{block.text}\n{(folder / 'said.txt').read_text()}"
    finally:
        for process in [one for one in started if one.poll() is None]:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return said


def test_the_pages_are_all_there_in_the_order_of_the_site():
    listed = re.findall(r"tutorial/(\w+)\.md", (DOCS.parent / "mkdocs.yml").read_text())
    assert tuple(listed) == ORDER and {path.stem for path in TUTORIAL.glob("*.md")} == set(ORDER)
    assert len(commands()) == 10 and f"--port={PORT}" in "".join(block.text for block in commands())


@pytest.mark.slow
def test_every_command_of_the_tutorial_runs_and_the_policy_becomes_good(tmp_path):
    socket.create_server(("127.0.0.1", PORT)).close()  # the pages name it, so it must be free
    for file in TUTORIAL.glob("*.py"):
        shutil.copy(file, tmp_path)
    said = follow(tmp_path)
    (tmp_path / "shown.txt").write_text("\n".join(said))
    warm, newest, best = (float(found) for found in re.findall(r"^success +([\d.]+) \(95", "\n".join(said), re.MULTILINE))
    assert max(newest, best) >= 0.85 and max(newest, best) > warm
    touched = re.search(r"touched the target in (\d+) of 50", said[-1])
    assert touched and int(touched[1]) >= 35
    recorded = read(tmp_path / "runs/reach") + read(tmp_path / "runs/reach/warmup_metrics")
    names = {re.sub("^actors/actor-0", "actors/NAME", name) for line in recorded for name in line}
    page = (DOCS / "reference" / "metrics.md").read_text()
    assert len(names) > 60 and [name for name in sorted(names) if f"`{name}`" not in page] == []

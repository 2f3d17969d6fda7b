"""Serves the operator's page of a run, during the run or after it: a browser shows the run, and buttons end and label its episodes.

    warmloop page runs/door                      # open http://127.0.0.1:8484/ in a browser of this machine
    warmloop page runs/door --page_port=8500

RUN is the folder of a run, RUNS/EXP_NAME. The page shows success, evaluations, every episode, curves, cameras, the learner and its
actors. Its buttons act on actors that run on this machine, as a device's keys do. It is no emergency stop. For a tablet or another
machine give --page_ip and --credentials. The run does not need this process: it may end at any time.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from ..data.errors import WarmloopError
from ..data.files.run_folder import RunFolder
from .flags import connection, page_flags
from .flags.common import run
from .starting.platforms import prefer_cpu

flags.declare_key_flag(page_flags.PAGE_PORT.name)
flags.declare_key_flag(page_flags.PAGE_IP.name)
flags.declare_key_flag(connection.CREDENTIALS.name)


def main(runs: Sequence[str]) -> None:
    from ..data.wire.keyring import LearnerCredentials
    from .operating.page_extra import require_page_extra

    if len(runs) != 1:
        raise WarmloopError("Name the folder of one run, as in `warmloop page runs/door`.")
    require_page_extra()
    from .operating.serving import serve

    prefer_cpu()
    folder = RunFolder(Path(runs[0]).expanduser())
    if not (folder.desks.is_dir() or (folder.path / "metrics.jsonl").is_file()):
        from .reports.story import require_run  # which takes seconds to import

        require_run(folder.path)
    credentials = LearnerCredentials.read(connection.CREDENTIALS.value) if connection.CREDENTIALS.value else None
    serve(folder.path, page_flags.PAGE_IP.value, page_flags.PAGE_PORT.value, credentials)


def cli() -> None:
    """The console script `warmloop-page`."""
    run(main, files=True)


if __name__ == "__main__":
    cli()

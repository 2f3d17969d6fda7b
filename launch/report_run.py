"""Writes a run's page, report.html, or one page that compares several runs.

    warmloop report runs/door                                        # writes runs/door/report.html
    warmloop report runs/door-0 runs/door-1 runs/iql --out=door.html # compares them

RUN is the folder of a run, RUNS/EXP_NAME. The page is one file that needs no network and no script: open it in any browser, or mail
it. It shows the result with its interval, curves, evaluations, settings and what they change of the preset, the data, checkpoints,
faults, and links to videos. Runs that differ by their seed alone are shown as one, with the mean and an interval over the seeds.

Training commands write the page of their run at its end. While a run goes on, this command shows how far it is. Exit code 0 where
the page was written, 2 where a folder is no run's.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from ..data.errors import WarmloopError
from ..data.files.run_folder import REPORT
from .flags.common import check_writable, output_path, run
from .reports.writing import write
from .starting.platforms import prefer_cpu

OUT = flags.DEFINE_string(
    "out", None, "File for the page. Default: RUN/report.html for one run; for several, comparison.html in the working directory."
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the file of --out if it exists.")
COMPARISON = "comparison.html"


def main(runs: Sequence[str]) -> None:
    if not runs:
        raise WarmloopError("Name the folder of a run, as in runs/door; several are compared.")
    prefer_cpu()
    out = where(runs)
    write(runs, out)
    print(f"report       {out}")


def where(runs: Sequence[str]) -> Path:
    """The file to write, found writable. Raises WarmloopError where a folder is no run's, is there twice, or the file is not to be had."""
    from .reports.story import require_run

    folders = [Path(one).expanduser() for one in runs]
    for folder in folders:
        require_run(folder)
    found: dict[Path, Path] = {}
    for folder in folders:
        if (same := found.setdefault(folder.resolve(), folder)) is not folder:
            raise WarmloopError(f"{folder} and {same} are the same run; leave one of them out.")
    if OUT.value or len(folders) > 1:
        return output_path(OUT.value or COMPARISON, OVERWRITE.value)
    check_writable(folders[0] / REPORT)
    return folders[0] / REPORT


def cli() -> None:
    """The console script `warmloop-report`."""
    run(main, files=True)


if __name__ == "__main__":
    cli()

"""Shows the contents of a data set and its faults, before training.

    warmloop inspect demos.npz
    warmloop inspect demos=a.npz suboptimal=b.pkl --html=report.html --fix=repaired.npz

FILE is a data set in any format that training takes, or KIND=FILE. The exit code is 1 if a fault would break training. The data are
compared with the environment that they name, if it can be made here; --config=my.py compares them with a configuration's environment.

FILE may also be a learner's quarantine folder, RUNS/EXP_NAME/quarantine, of rows that were refused and not learnt from. Then each row
is shown with the reason and the wrong values, and the exit code is 1 if there are any rows.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from ml_collections import config_flags

from ..data.errors import WarmloopError
from ..data.files.whole_files import replacing
from .flags import data_flags, overrides
from .flags.arguments import locate_config, named_environment, value_of
from .flags.common import check_outputs, output_path, progress, run
from .starting.platforms import prefer_cpu

if TYPE_CHECKING:
    from ..data.inspection import Reference

flags.adopt_module_key_flags(data_flags)
JSON = flags.DEFINE_bool("json", False, "Print one JSON object instead of text; for a quarantine folder, one for each row.")
HTML = flags.DEFINE_string("html", None, "File for an HTML report with pictures and camera frames; it needs no network.")
FIX = flags.DEFINE_string("fix", None, "File for a repaired copy; its ending chooses the format. The original stays as it is.")
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Configuration whose environment the data are compared with, such as my.py or configs/adroit.py:door. "
    "--config.environment.horizon=100 changes one setting of the environment; a change of a setting that the comparison does not use is "
    "refused.",
)
ENV = flags.DEFINE_string(
    "env",
    "auto",
    "Environment to compare with: a Gymnasium id, module:Id or Meta-World/NAME-v3; none for no comparison; auto for the one that the files "
    "name. A configuration such as my.py is taken too, as by --config.",
)
SUCCESS = flags.DEFINE_string(
    "success",
    "",
    "Rule for successful steps in a file without a success flag: reward>=X, end, terminated or never. Default: by the rewards.",
)
ALL = flags.DEFINE_bool("all", False, "List all columns, and all episodes in which a fault was found.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the files of --html and --fix if they exist.")
ROWS = flags.DEFINE_integer("rows", 20, "Number of rows to show of each quarantine file.", lower_bound=1)
VALUES_SHOWN = 4


def main(files: Sequence[str]) -> int:
    if not files:
        raise WarmloopError("Name a data set, as in demos.npz, or a quarantine folder, as in runs/door/quarantine.")
    prefer_cpu()
    from ..data.inspection import is_quarantine

    quarantined = [is_quarantine(file) for file in files]
    if all(quarantined):
        return show_quarantine(files)
    if any(quarantined):
        raise WarmloopError("Some of these are quarantine folders and some are data sets; inspect them one after the other.")
    return show_data(files)


def show_data(files: Sequence[str]) -> int:
    """Prints the report, writes what the flags ask for, and returns the exit code."""
    from ..data.formats import written_format

    html = output_path(HTML.value, OVERWRITE.value) if HTML.value else None
    fix = output_path(FIX.value, OVERWRITE.value) if FIX.value else None
    if fix:
        written_format(fix)
    check_outputs(files, {"--html": html, "--fix": fix})
    from ..data.inspection import inspect
    from ..data.inspection.page.html import page
    from ..data.inspection.text import render
    from .run.compared_environment import configured_reference, find_reference

    named = overrides.configuration()
    if named and not flags.FLAGS["env"].using_default_value:
        raise WarmloopError(f"--config and --env={ENV.value} both name what to compare with; leave one of them out.")
    changes = overrides.taken("inspect", (*overrides.LOOKED_AT, *overrides.LIMITS))
    reference, said = configured_reference(named, changes) if named else find_reference(ENV.value or "auto", files, changes)
    reading = data_flags.DONES.value or "", data_flags.SKIP_BAD_EPISODES.value
    with progress("inspecting, episodes", None) as advance:
        report = inspect(list(files), reference, said, advance, SUCCESS.value or "", *reading)
    print(json.dumps(report.as_json()) if JSON.value else render(report, every_place=ALL.value))
    if html:
        write_page(html, page(report))
    if fix:
        write_repaired(files, str(fix), reference)
    return 1 if report.breaks_training else 0


def write_page(path: Path, text: str) -> None:
    """Writes the report, whole or not at all. Raises WarmloopError where it cannot be written."""
    try:
        with replacing(path) as file:
            file.write(text.encode(errors="replace"))  # a file's name may be in another encoding
    except OSError as error:
        raise WarmloopError(f"{path} could not be written: {error.strerror or error}.") from error


def write_repaired(files: Sequence[str], path: str, reference: Reference | None) -> None:
    """Writes the repaired copy; says what was changed, and what is left to a person, on stderr where stdout holds JSON."""
    from ..data.formats import parse_source_argument, write_episodes
    from ..data.inspection import inspect, repair
    from ..data.sources.sources import recorded_metadata

    kept = recorded_metadata([parse_source_argument(file)[1] for file in files])
    episodes, changes = repair(files, reference, SUCCESS.value or "", data_flags.DONES.value or "", data_flags.SKIP_BAD_EPISODES.value)
    write_episodes(path, episodes, {"repaired_from": list(files), "changes": [vars(change) for change in changes]} | kept)
    out = sys.stderr if JSON.value else sys.stdout
    print(f"\n{path}: {len(episodes)} episodes, {len(changes)} changes", file=out)
    for change in changes:
        print(f"  {Path(change.file).name}, episode {change.episode}: {change.what}", file=out)
    left = Counter(finding.check for finding in inspect(episodes).findings)
    if left:
        print(f"  left as it is, for you to decide: {', '.join(f'{check} ({count})' for check, count in left.items())}", file=out)


def show_quarantine(files: Sequence[str]) -> int:
    """Prints quarantined rows, and returns the exit code."""
    from ..data.formats.quarantined import quarantine_files, read_quarantine

    reasons: Counter[str] = Counter()
    for path in [path for name in files for path in quarantine_files(name)]:
        rows = list(read_quarantine(path))
        reasons.update(row.reason for row in rows)
        if JSON.value:
            for row in rows:
                print(json.dumps({**vars(row), "values": {name: str(value) for name, value in row.values.items()}}))
            continue
        print(f"{path}: {len(rows)} rows of stream {rows[0].stream}")
        for row in rows[: ROWS.value]:
            shown = ", ".join(f"{name} = {value:g}" for name, value in list(row.values.items())[:VALUES_SHOWN])
            more = f" and {len(row.values) - VALUES_SHOWN} more" if len(row.values) > VALUES_SHOWN else ""
            print(f"  row {row.number}, episode {row.episode}, step {row.step}: {row.reason}: {shown}{more}")
        if len(rows) > ROWS.value:
            print(f"  and {len(rows) - ROWS.value} more (--rows shows them)")
    if not JSON.value:
        print("\n".join(f"{count} rows: {reason}" for reason, count in reasons.most_common()) or "no rows are in quarantine")
    return 1 if reasons else 0


def base(argv: list[str], change: str) -> str:
    """Whose setting `change` is, where there is no --config: that of --env. Raises WarmloopError where it names no single environment."""
    from ..configs import locate
    from .run.compared_environment import configured_in

    env = value_of(argv, "env") or "auto"
    if env in ("auto", "none"):
        raise WarmloopError(
            f"{change} changes a configuration, and none is named: add --config=…, such as --config=configs/adroit.py:door, or --env=ID."
        )
    return locate(env) if configured_in(env) else named_environment(argv, change)


def cli() -> None:
    """The console script `inspect_data`."""
    run(main, prepare=lambda argv: locate_config(argv, base), files=True)


if __name__ == "__main__":
    cli()

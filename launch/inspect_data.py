"""Shows the rows that a learner put into quarantine, with the reason and the values that are wrong.

python -m warmloop.launch.inspect_data runs/door/quarantine

Exit code 1 if there are any: they were not learnt from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from absl import flags

from ..data.errors import WarmloopError
from .common import run

JSON = flags.DEFINE_bool("json", False, "Print one JSON object for each row instead of a table.")
ROWS = flags.DEFINE_integer("rows", 20, "Rows shown of each file.", lower_bound=1)
VALUES_SHOWN = 4


def main(files: Sequence[str]) -> int:
    from ..data.formats.quarantined import quarantine_files, read_quarantine

    if not files:
        raise WarmloopError("Name a quarantine folder, or a file of one, as in runs/door/quarantine.")
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


def cli() -> None:
    """The console script `inspect_data`."""
    run(main, files=True)


if __name__ == "__main__":
    cli()

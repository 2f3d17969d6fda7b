"""The finished seeds of a sweep, and files of its folder that hold a sealed line for each thing that was done."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configs.schema import to_dict
from ...data.files.sealed_json import SEAL, seal, unseal
from ...data.files.whole_files import replacing
from ...learner.judging.selection import finite
from ..flags.common import log

if TYPE_CHECKING:
    from .sweep_runs import Judging
    from .sweeping import Run

RESULTS = "results.jsonl"
OF_A_SEED = ("seed", "seconds", "fqe_seconds", "together", "mean_return", "success_rate", "normalised", "diverged")
ENTRIES = ("run", "key", *OF_A_SEED, "selected", "checkpoints", "rank_correlation")  # of a line of results.jsonl


class SealedLines:
    """A file of JSON lines, each with its sha256. A last line that was broken off is dropped, and said so.

    Args:
        path: in a folder that is there.
        entries: that a line may have.
        lost: what follows from a line that is gone, for the log and for errors.
    """

    def __init__(self, path: Path, entries: Collection[str], lost: str):
        self._path = path
        text = path.read_bytes().decode(errors="replace") if path.exists() else ""
        *lines, rest = text.split("\n")
        whole = [f"{line}\n" for line in lines]
        if rest:
            log.warning("The last line of %s was broken off; %s.", path, lost)
            with replacing(path) as file:
                file.write("".join(whole).encode())
        self.read = list(self._unsealed(whole, entries, lost))

    def add(self, line: Mapping[str, Any]) -> None:
        """Appends a line, at once."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(seal(line, indent=None))

    def _unsealed(self, lines: Iterable[str], entries: Collection[str], lost: str) -> Iterator[dict[str, Any]]:
        """Each line as it was written. Lines of an earlier version, which had no hashes, can only come first.

        Raises:
            WarmloopError: a line was changed since it was written.
        """
        hashed = False
        for number, line in enumerate(lines, 1):
            advice = f"delete line {number}, and {lost}"
            hashed |= f'"{SEAL}"' in line
            yield unseal(line, str(self._path) if not hashed else f"{self._path}, line {number},", advice, entries, must=hashed)


class Results:
    """The finished seeds, a line each in OUT/results.jsonl. The last line of a run's seed is the one that counts, as its checkpoint is the
    one that is kept; what another configuration, other data or other judging gave is not taken for this one's."""

    def __init__(self, out: Path, judging: Judging):
        out.mkdir(parents=True, exist_ok=True)
        self._judging = dataclasses.asdict(judging)
        self._lines = SealedLines(out / RESULTS, ENTRIES, "its seed is run again")
        self._last = {(line["run"], line["seed"]): line for line in self._lines.read}

    def missing(self, name: str, run: Run, seeds: int) -> list[int]:
        """The seeds, 0 and up, that are still to be run."""
        key = self.key(run)
        return [seed for seed in range(seeds) if self._last.get((name, seed), {}).get("key") != key]

    def add(self, name: str, run: Run, result: Mapping[str, Any]) -> None:
        """Keeps a seed's result, at once."""
        line = finite({"run": name, "key": self.key(run), **result})
        self._last[name, line["seed"]] = line
        self._lines.add(line)

    def of(self, runs: Iterable[str], seeds: int) -> dict[str, list[dict[str, Any]]]:
        """Each run's results by seed, all of which are there."""
        return {name: [self._last[name, seed] for seed in range(seeds)] for name in runs}

    def key(self, run: Run) -> str:
        """What tells a run's results from those of other settings, other data and other judging."""
        settings = {section: values for section, values in to_dict(run.config).items() if section != "data"}
        said = json.dumps([settings, self._judging, run.contents], sort_keys=True, default=str)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

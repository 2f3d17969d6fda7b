"""What a run's folder says of the run. Nothing in it is run or unpickled; what is damaged is named, and the rest is told."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...configs.saved import BESIDE, read_saved
from ...data.errors import WarmloopError
from ...data.files.run_folder import RunFolder
from ...data.formats.quarantined import quarantine_files, read_quarantine
from ...data.wire import MIB
from ...learner.checkpoints import complete_checkpoints, selection_file
from ...learner.checkpoints.stored_policies import BEST, stands_by_best
from ...learner.diagnosis import metrics
from ..telling.run_history import BEGAN, last, read_history

MEDIA = (".mp4", ".mkv", ".mov", ".avi", ".png", ".gif")
QUARANTINE_READ = 200  # files of a quarantine that are looked into

Record = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Kept:
    """A checkpoint: its folder, update, when it was saved (seconds since 1970), its size, what marks it, and its description."""

    path: Path
    updates: int
    saved: float
    mebibytes: float
    mark: str
    meta: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Story:
    """A run as its page tells it.

    Attributes:
        config: its sections, as config.json has them; empty where that cannot be read.
        phase: what ran last, "warmup" or "online".
        online, warm: records of the metrics of the fine-tuning and of the warm-up, oldest first.
        history: lines of history.jsonl, oldest first.
        checkpoints, warm_checkpoints: oldest first.
        selection: how the warm-up's checkpoints compare; None where they were not compared.
        quarantined: rows that were not learnt from, by reason.
        media: videos and pictures in the folder.
        notices: what is damaged or missing, a sentence each.
    """

    path: Path
    config: Mapping[str, Any]
    seed: int | None
    phase: str
    online: list[Record]
    warm: list[Record]
    history: list[dict[str, Any]]
    checkpoints: list[Kept]
    warm_checkpoints: list[Kept]
    selection: Mapping[str, Any] | None
    quarantined: Counter[str]
    media: list[Path]
    notices: list[str]

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def returns(self) -> bool:
        """Whether returns are what it learns for."""
        return self.section("reward").get("signal") == "environment"

    @property
    def stands_by_best(self) -> bool:
        """Whether the newest checkpoint says that the best policy did better than the trained one."""
        return bool(self.checkpoints) and stands_by_best(self.checkpoints[-1].meta)

    @property
    def task(self) -> str:
        names = self.section("tasks").get("names") or ()
        return f"{self.section('environment').get('id', 'unknown task')}{' (' + ', '.join(map(str, names)) + ')' if names else ''}"

    @property
    def agents(self) -> str:
        """The algorithm, and the one that warmed up where that is another."""
        names = [str(self.section(section).get("name", "")) for section in ("warmup_agent", "agent")]
        names = names if self.warm else names[1:]
        return ", then ".join(dict.fromkeys(filter(None, names))) or "unknown agent"

    @property
    def steps(self) -> int:
        """Environment steps of the fine-tuning."""
        return int(max((record.get("environment_steps", 0) for record in self.online), default=0))

    @property
    def updates(self) -> int:
        return int(max((record["updates"] for record in [*self.warm, *self.online]), default=0))

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of the configuration; empty where it is not known."""
        found = self.config.get(name)
        return found if isinstance(found, Mapping) else {}


def read_story(path: str | Path) -> Story:
    """The story of the run in a folder.

    Raises:
        WarmloopError: there is none.
    """
    path = Path(path).expanduser()
    require_run(path)
    notices: list[str] = []

    def tried(what: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return what()
        except WarmloopError as error:
            notices.append(str(error))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notices.append(f"Something in {path} is damaged and is left out: {type(error).__name__}: {error}")
        return otherwise

    folder, saved = RunFolder(path), tried(lambda: read_saved(RunFolder(path).config, "what it says is left out"), {"config": {}})
    history, damaged = read_history(path)
    if damaged:
        notices.append(f"{damaged} lines of history.jsonl are damaged or were changed, and are left out.")
    warm_folder = Path(last(history, BEGAN, "warmup").get("checkpoints") or folder.warmup)
    warm_folder = warm_folder if warm_folder.is_dir() else folder.warmup
    online, own = _records(path, notices), folder.checkpoints
    selection = None
    if (warm_folder / selection_file.SELECTION).is_file():
        selection = tried(lambda: selection_file.read(warm_folder, must=False), None)
    return Story(
        path=path,
        config=saved["config"],
        seed=saved.get("seed"),
        phase="online" if online or complete_checkpoints.steps(own) else "warmup",
        online=online,
        warm=_records(folder.warmup_metrics, notices),
        history=history,
        checkpoints=tried(lambda: _checkpoints(own, None), []),
        warm_checkpoints=tried(lambda: _checkpoints(warm_folder, selection), []),
        selection=selection,
        quarantined=_quarantined(folder.quarantine, notices),
        media=_media(path),
        notices=[*notices, *_damaged_files(path)],
    )


def require_run(path: Path) -> None:
    """Raises WarmloopError where there is no run, with where one might be."""
    if not path.exists():
        raise WarmloopError(f"There is no folder {path}; name a run's, as in runs/door.")
    if not path.is_dir():
        raise WarmloopError(f"{path} is a file; name the folder of a run, as in runs/door.")
    if _is_run(path):
        return
    within = sorted(str(one) for one in path.iterdir() if one.is_dir() and _is_run(one))
    if within:
        raise WarmloopError(f"{path} holds runs and is none: name them, as in {' '.join(within[:3])}{' …' if len(within) > 3 else ''}.")
    if (path / "results.jsonl").is_file():
        raise WarmloopError(f"{path} holds a sweep and no run: its comparison is {path}/table.md and scores.png.")
    above = next((one for one in path.resolve().parents if _is_run(one)), None)
    hint = f"it is a part of the run {above}" if above else f"it has no config.json and no {metrics.LINES}"
    raise WarmloopError(f"{path} is not the folder of a run ({hint}); name what a training command wrote, RUNS/EXP_NAME, as in runs/door.")


def _is_run(path: Path) -> bool:
    folder = RunFolder(path)
    if (path / metrics.LINES).is_file() and path.name != folder.warmup_metrics.name:
        return True
    if not folder.config.is_file():
        return False
    try:  # a run's, and not a model's of another library
        return set(BESIDE) & set(json.loads(folder.config.read_text())) != set() or folder.checkpoints.is_dir()
    except (ValueError, OSError, TypeError):
        return folder.checkpoints.is_dir() or folder.warmup_metrics.is_dir()


def _records(folder: Path, notices: list[str]) -> list[Record]:
    """The records of a folder's metrics; lines that are none are left out."""
    if not (folder / metrics.LINES).is_file():
        return []
    lines = [line for line in (folder / metrics.LINES).read_bytes().decode(errors="replace").splitlines() if line.strip()]
    found = [record for record in map(_record, lines) if record is not None]
    if len(found) < len(lines):
        notices.append(f"{len(lines) - len(found)} lines of {folder / metrics.LINES} are damaged and are left out.")
    return found


def _record(line: str) -> Record | None:
    try:
        values = json.loads(line)
        record = {str(name): float(value) for name, value in values.items()}
    except (ValueError, TypeError, AttributeError):
        return None
    record = {name: value for name, value in record.items() if math.isfinite(value)}
    return record if {"updates", "time"} <= record.keys() else None


def _checkpoints(folder: Path, selection: Mapping[str, Any] | None) -> list[Kept]:
    found = []
    for path in complete_checkpoints.steps(folder):
        meta = json.loads((path / "meta.json").read_text())
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / MIB
        found.append(Kept(path, int(path.name), (path / "meta.json").stat().st_mtime, size, "", meta))
    if not found:
        return found
    chosen = selection["chosen"] if selection else found[-1].updates
    marks = {found[-1].updates: "newest"} | {chosen: "chosen: commands take this one" if selection else "newest: commands take this one"}
    return [dataclasses.replace(one, mark=marks.get(one.updates, "")) for one in found]


def best_policy(story: Story) -> int | None:
    """The update of the best policy that the newest checkpoint keeps; None where it keeps none."""
    state = story.checkpoints[-1].meta.get(BEST) if story.checkpoints else None
    try:
        return int(state["policies"][state["kept"]["policy"]]["version"]) if state else None
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _quarantined(folder: Path, notices: list[str]) -> Counter[str]:
    reasons: Counter[str] = Counter()
    files = quarantine_files(folder) if folder.is_dir() else []
    for file in files[:QUARANTINE_READ]:
        try:
            reasons.update(row.reason for row in read_quarantine(file))
        except WarmloopError as error:
            notices.append(str(error))
    if len(files) > QUARANTINE_READ:
        notices.append(f"{folder} has {len(files)} files; the first {QUARANTINE_READ} are counted here.")
    return reasons


def _media(path: Path) -> list[Path]:
    folder = RunFolder(path)
    places, drawn = [path, folder.videos], [folder.curves, folder.warmup_curves]  # which the page draws itself
    found = (file for place in places if place.is_dir() for file in place.iterdir() if file.suffix.lower() in MEDIA)
    return sorted(file for file in found if file not in drawn)


def _damaged_files(path: Path) -> list[str]:
    folder = RunFolder(path)
    damaged = (file for place in (folder.journal, folder.spools) for file in place.rglob("*.damaged"))
    kept = sorted(str(file.relative_to(path)) for file in damaged)
    return [f"Damaged files were set aside: {', '.join(kept[:5])}{' and more' if len(kept) > 5 else ''}."] if kept else []

"""Finished episodes on disk while a set is still being collected, so that a crash costs only those that were under way.

    .NAME.part/settings.json            what decides the episodes, sealed; a run with other settings does not go on from here
    .NAME.part/00000012-success.npz     attempt 12, which succeeded
    .NAME.part/00000013-failure.npz     attempt 13, which did not
    .NAME.part/00000014-failure         attempt 14, of which nothing is kept
    .NAME.part/00000015-discarded       attempt 15, which a person did not want

Each file is whole, on disk and never changed: what a listing of the folder shows is what is over.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from ...data.episode import Episode
from ...data.errors import WarmloopError
from ...data.files.disk import lock_directory, sync_directory, unbroken
from ...data.files.sealed_json import read_sealed, write_sealed
from ...data.formats import load_episodes, write_episodes

OUTCOMES = {"success": True, "failure": False, "discarded": None}
ATTEMPT = re.compile(rf"(\d{{8}})-({'|'.join(OUTCOMES)})(\.npz)?")
SETTINGS = "settings.json"


class Parts:
    """The folder of an unfinished set, held by one process at a time.

    Attributes:
        folder: beside the set's file.
    """

    def __init__(self, folder: Path, lock: int):
        self.folder, self._lock = folder, lock

    @classmethod
    def open(cls, out: Path, settings: dict[str, Any], overwrite: bool = False) -> Parts:
        """The folder of the set `out`, with what a run of the same settings left there.

        Args:
            settings: JSON that decides the episodes.
            overwrite: begin anew where other settings left something.

        Raises:
            WarmloopError: they did, or the settings there were changed since, and `overwrite` is not set; another process collects the
                same set; or the disk refuses.
        """
        folder = out.with_name(f".{out.name}.part")
        parts = cls(folder, lock_directory(folder, "The folder of finished episodes", "wait for it, or choose another --out"))
        try:
            parts._settle(json.loads(json.dumps(settings)), overwrite)
        except BaseException as error:
            parts.close()
            if isinstance(error, OSError):
                raise WarmloopError(f"{folder} cannot be used: {error.strerror}.") from error
            raise
        return parts

    def over(self) -> dict[int, bool | None]:
        """The attempts that are over, and whether each one succeeded; None where it was discarded."""
        found = (ATTEMPT.fullmatch(name) for name in os.listdir(self.folder))
        return {int(match[1]): OUTCOMES[match[2]] for match in found if match}

    def load(self, attempt: int, succeeded: bool) -> Episode:
        """The episode of an attempt that is kept."""
        return load_episodes(_path(self.folder, attempt, succeeded, ".npz"))[0]

    def remove(self) -> None:
        """Removes the folder: the set is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Lets another process go on; a folder without any attempt goes."""
        if self._lock >= 0:
            if self.folder.exists() and not self.over():
                shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    def _settle(self, settings: dict[str, Any], overwrite: bool) -> None:
        path = self.folder / SETTINGS
        if self.over():
            try:
                before = read_sealed(path, "its episodes may be another run's", known=settings, must=False)
                if before == settings:
                    return
                other = (
                    f"{self.folder} holds finished episodes of another run ({_difference(before, settings)}). Run the command that began it"
                )
            except WarmloopError as error:
                other = f"{error} Move its .npz files elsewhere, each of which is a set of one episode"
            if not overwrite:
                raise WarmloopError(f"{other}, or begin anew with --overwrite.")
        for entry in self.folder.iterdir():
            if ATTEMPT.fullmatch(entry.name):
                entry.unlink()
        write_sealed(path, settings)


def store(folder: Path, attempt: int, succeeded: bool | None, episode: Episode | None = None) -> None:
    """Puts a finished attempt on disk, and its episode where it is kept; a signal to leave waits. Raises WarmloopError where the disk
    refuses."""
    if episode is not None:
        with unbroken():
            write_episodes(_path(folder, attempt, succeeded, ".npz"), [episode])
        return
    path = _path(folder, attempt, succeeded)
    try:
        path.touch()
        sync_directory(folder)
    except OSError as error:
        raise WarmloopError(f"{path} could not be written: {error.strerror}.") from error


def _path(folder: Path, attempt: int, succeeded: bool | None, suffix: str = "") -> Path:
    outcome = next(name for name, value in OUTCOMES.items() if value is succeeded)
    return folder / f"{attempt:08d}-{outcome}{suffix}"


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The first setting that differs."""
    name = next(name for name in sorted(before.keys() | now) if before.get(name) != now.get(name))
    return f"its {name} was {json.dumps(before.get(name))} and is now {json.dumps(now.get(name))}"

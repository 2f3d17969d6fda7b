"""Clips of a run for a person to look at: evaluations and episodes with interventions, and a contact sheet of the newest of them.

    videos/evaluation-000005000-00-success.mp4    the first episodes of the evaluation after that many steps
    videos/intervention-000012-failure.mp4        training episode 12; frames are edged in orange while the hand acts
    contact_sheet.png                             first, middle and last frame of the newest, edged green where it succeeded, else red

The control loop only keeps frames in memory: the cameras of the observation, or what `render` draws where it has none. A thread writes
them; where it cannot keep up, or the disk refuses, clips are left out and the run goes on.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...data.doors.imports import told
from ...data.errors import WarmloopError
from ...data.files.run_folder import RunFolder
from ...data.pictures.contact_sheet import BAD, GOOD, HAND, Tile, marked, save, sheet, side_by_side
from ...data.transition import PyTree
from ..environment.environment import Environment
from .film import Film
from .video import frame_of

EVALUATION_CLIPS, SHEET_ROWS, TILE = 3, 8, 128
MOST_FRAMES = 400  # of a clip; a longer one leaves out every other frame, and the frame before has the mark of a hand
WAITING = 8  # clips that may wait for the thread

log = logging.getLogger(__name__)


class Clip(NamedTuple):
    """A whole episode: its name, whether it succeeded, frames `[H, W, 3]`, whether a hand acted at each, and frames per second."""

    name: str
    succeeded: bool
    frames: list[np.ndarray]
    hands: list[bool]
    rate: float


class Clips:
    """The clips of a run.

    Args:
        environment: whose episodes they are.
        directory: the run's; None records nothing.
        name: of one of several actors, put into the names of files.
    """

    def __init__(self, environment: Environment, directory: Path | None = None, name: str = ""):
        self._environment, self._directory, self._name = environment, directory, name
        self._cameras = [leaf.name for leaf in environment.spec.cameras]
        self._newest: deque[Clip] = deque(maxlen=SHEET_ROWS)
        self._queue: queue.Queue[Clip | None] = queue.Queue(WAITING)
        self._writer = threading.Thread(target=self._write_all, name="clips", daemon=True)
        self._failing = False
        self.begin()
        if directory is not None:
            self._writer.start()

    def begin(self) -> None:
        """An episode begins."""
        self._frames, self._hands, self._every, self._step = list[np.ndarray](), list[bool](), 1, 0

    def add(self, observation: PyTree, intervened: bool = False) -> None:
        """One step was taken that led to `observation`. Raises WarmloopError where no frame can be made."""
        if self._directory is None:
            return
        if self._step % self._every == 0:
            self._frames.append(self._frame(observation))
            self._hands.append(intervened)
            if len(self._frames) > MOST_FRAMES:
                hands = [*self._hands, False]
                self._hands = [hand or after for hand, after in zip(hands[::2], hands[1::2], strict=False)]
                self._frames, self._every = self._frames[::2], 2 * self._every
        else:
            self._hands[-1] |= intervened
        self._step += 1

    def last_frame(self) -> np.ndarray | None:
        """The newest frame `[H, W, 3]`, where frames are recorded."""
        frames = self._frames
        return frames[-1] if frames else None

    def end_training(self, episode: int, succeeded: bool) -> None:
        """A training episode is over; it is kept where a hand acted in it."""
        self._end(f"intervention-{episode:06d}", succeeded, any(self._hands))

    def end_evaluation(self, steps: int, number: int, succeeded: bool) -> None:
        """Episode `number` of the evaluation after `steps` steps is over; the first few are kept."""
        self._end(f"evaluation-{steps:09d}-{number:02d}", succeeded, number < EVALUATION_CLIPS)

    def close(self) -> None:
        """Waits until all is written."""
        if self._directory is not None and self._writer.is_alive():
            self._queue.put(None)
            self._writer.join()

    def _end(self, name: str, succeeded: bool, kept: bool) -> None:
        if kept and self._frames:
            rate = self._environment.frames_per_second / self._every
            title = "-".join([name, "success" if succeeded else "failure", *([self._name] if self._name else [])])
            try:
                self._queue.put_nowait(Clip(title, succeeded, self._frames, self._hands, rate))
            except queue.Full:
                log.warning("The clip %s is left out: others still wait to be written.", name)
        self.begin()

    def _frame(self, observation: PyTree) -> np.ndarray:
        if not self._cameras:
            return frame_of(self._environment)
        views = observation if isinstance(observation, Mapping) else {"": observation}
        return side_by_side([view[-1] if view.ndim == 4 else view for view in (views[name] for name in self._cameras)])

    def _write_all(self) -> None:
        while (clip := self._queue.get()) is not None:
            try:
                self._write(clip)
            except Exception as error:  # the film's library may raise anything, and no clip is worth the run
                if not self._failing:
                    reason = error if isinstance(error, OSError | WarmloopError) else told(error)
                    log.error("Clips cannot be written to %s: %s", self._directory, reason)
                self._failing = True

    def _write(self, clip: Clip) -> None:
        assert self._directory is not None
        folder = RunFolder(self._directory)
        folder.videos.mkdir(parents=True, exist_ok=True)
        with Film(folder.videos / f"{clip.name}.mp4", clip.rate) as film:
            for frame, hand in zip(clip.frames, clip.hands, strict=True):
                film.append(marked(frame, HAND) if hand else frame)
        shown = sorted({0, len(clip.frames) // 2, len(clip.frames) - 1})  # the sheet needs no more of it
        self._newest.append(clip._replace(frames=[clip.frames[i] for i in shown], hands=[clip.hands[i] for i in shown]))
        save(folder.contact_sheet(self._name), sheet([_row(clip) for clip in self._newest], TILE))


def _row(clip: Clip) -> list[Tile]:
    colour, pictures = GOOD if clip.succeeded else BAD, zip(clip.frames, clip.hands, strict=True)
    texts = [clip.name, "", ""]
    return [Tile(marked(frame, HAND) if hand else frame, text, colour) for (frame, hand), text in zip(pictures, texts, strict=False)]

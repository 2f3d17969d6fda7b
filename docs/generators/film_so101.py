"""Films a run of the simulated SO-101 with the operator's page beside it, after the run: docs/so101.webp.

    python docs/generators/film_so101.py --run=RUN --trace=TRACE --out=docs/so101.webp

TRACE is what `docs/robot/simulated_so101.py --trace=TRACE` wrote while the run went on. Every second step of some
episodes is drawn as the scene was at it, and beside it stands the real page, in Chromium, of the run's files as they were when that
episode ended. MUJOCO_GL=egl draws without a display.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "docs" / "robot"), str(ROOT / "tests" / "helpers")]

SCENE, PAGE, VIEW = (400, 300), (640, 480), (1066, 800)  # pixels of width and height: drawn, shown, and of the browser's window
GROWING = ("metrics.jsonl", "episodes.jsonl")
STRIDE, BEAT_MS, PAUSE_MS = 2, 120, 1_200  # steps from one picture to the next; how long one is shown, and an episode's last


def lines(path: Path) -> list[dict[str, Any]]:
    """Of JSON; what is half written is left out."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def as_it_was(run: Path, now: float, to: Path) -> None:
    """The run's folder, with its growing files as they were at a time."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("checkpoint*", "warmup*", "spool*", "journal*", "*.sock"), dirs_exist_ok=True)
    for name in GROWING:
        kept = [line for line in lines(run / name) if line["time"] <= now + 0.5]
        (to / name).write_text("".join(json.dumps(line) + "\n" for line in kept))


def pages(run: Path, times: list[float]) -> list[Image.Image]:
    """The page at each time, as a browser shows it."""
    from browsers import Tab, browser  # pyright: ignore[reportMissingImports]
    from page_served import served  # pyright: ignore[reportMissingImports]

    found = []
    with browser() as chromium, tempfile.TemporaryDirectory() as folder:
        for number, now in enumerate(times):
            then = Path(folder) / str(number) / run.name
            as_it_was(run, now, then)
            with served(then) as page:
                tab = Tab(chromium, page.address, {"width": VIEW[0], "height": VIEW[1]})
                tab.page.locator(".mark").first.wait_for()
                tab.page.wait_for_timeout(1_500)
                tab.page.screenshot(path=str(then / "page.png"))
                found.append(Image.open(then / "page.png").convert("RGB").resize(PAGE, Image.Resampling.LANCZOS))
                tab.close()
    return found


def steps_of(episode: dict[str, Any], trace: list[dict[str, Any]]) -> list[np.ndarray]:
    """Where all was at each step of an episode: those that were commanded last before it was reported."""
    times = np.array([line["time"] for line in trace])
    last = int(np.searchsorted(times, episode["time"]))
    return [np.array(line["qpos"]) for line in trace[max(last - int(episode["length"]), 0) : last]]


def frame(scene: Image.Image, page: Image.Image, said: str) -> Image.Image:
    """One picture of the film."""
    whole = Image.new("RGB", (SCENE[0] + PAGE[0], PAGE[1]), "white")
    whole.paste(scene, (0, 0))
    whole.paste(page, (SCENE[0], 0))
    ImageDraw.Draw(whole).multiline_text((16, SCENE[1] + 24), said, "black", ImageFont.load_default(20), spacing=8)
    return whole


def film(run: Path, trace_file: Path, out: Path, numbers: list[int]) -> None:
    """Writes the film of the training episodes of these numbers, the first is 1; from the end, the last is -1."""
    from so101_scene import Scene  # pyright: ignore[reportMissingImports]

    episodes, trace, scene = lines(run / "episodes.jsonl"), lines(trace_file), Scene()
    chosen = [episodes[number - 1 if number > 0 else number] for number in numbers]
    frames, durations = list[Image.Image](), list[int]()
    for episode, page in zip(chosen, pages(run, [one["time"] for one in chosen]), strict=True):
        hand = "\ntaken over by the teacher" if episode.get("interventions") else ""
        said = f"episode {episode['number'] + 1} of {len(episodes)}: {episode['outcome']}\n{episode['length']} steps{hand}"
        for qpos in steps_of(episode, trace)[::-STRIDE][::-1]:
            frames.append(frame(Image.fromarray(scene.drawn(qpos, "front", *SCENE)), page, said))
            durations.append(BEAT_MS)
        durations[-1] = PAUSE_MS
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=45, method=4)
    print(f"written      {out}: {len(frames)} pictures, {out.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the folder of the run")
    parser.add_argument("--trace", type=Path, required=True, help="where all was, as simulated_so101.py wrote it")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "so101.webp", help="(%(default)s)")
    parser.add_argument("--episodes", default="1,2,-2,-1", help="by number, the first is 1 and the last -1 (%(default)s)")
    given = parser.parse_args()
    film(given.run, given.trace, given.out, [int(number) for number in given.episodes.split(",")])


if __name__ == "__main__":
    main()

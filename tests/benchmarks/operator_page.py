"""What the operator's page costs a robot's actor, and how long words and pictures take: `python tests/benchmarks/operator_page.py`.

An actor's real control loop runs at 20 Hz in a process of its own, with two cameras of 640 × 480 and the real client. The page is
`warmloop page`, a process of its own, and ten viewers look: eight are let in, each takes every picture that it can, two are turned away
and try again. Three conditions in turn, so that what else the machine does falls on all of them: no desk at all, a desk at which nobody
looks, and ten viewers. The moment in which a picture was taken is painted into it, and read from the picture that a viewer got. A word is
said by a click on the page's button in Chromium, which must be there.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

HZ, STEPS, PICTURE, BLOCK, BITS = 20.0, 60, (480, 640, 3), 16, 40
ROBOT = "WarmloopBench/Robot-v0"
VIEWERS, CONDITIONS = 10, ("no desk", "nobody looks", "ten viewers")


class Robot(gym.Env):
    """Keeps its beat and says which steps were late; its cameras show the time in blocks of black and white."""

    observation_space = gym.spaces.Dict(
        {"state": gym.spaces.Box(-1, 1, (8,), np.float32)} | dict.fromkeys(("front", "wrist"), gym.spaces.Box(0, 255, PICTURE, np.uint8))
    )
    action_space = gym.spaces.Box(-1, 1, (4,), np.float32)

    def __init__(self) -> None:
        from warmloop.actor.robots.pace import Pace

        self._pace = Pace(HZ)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self._pace.restart()
        return self._look(), {}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        late = self._pace.wait()
        return self._look(), 0.0, False, False, {"late": late, "success": False}

    def _look(self) -> dict:
        return {"state": np.zeros(8, np.float32), "front": painted(time.time()), "wrist": painted(time.time())}


def painted(now: float) -> np.ndarray:
    """A picture of a moment, in tenths of a millisecond; noise around it, as a camera's pictures have."""
    picture = np.random.default_rng(int(now * 1e4) % 997).integers(60, 180, PICTURE, np.uint8)
    number = int(now * 1e4) % 2**BITS
    for bit in range(BITS):
        picture[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return picture


def taken_at(data: bytes, now: float) -> float:
    """When the picture in a JPEG was painted."""
    from PIL import Image

    grey = np.asarray(Image.open(io.BytesIO(data)).convert("L"), np.float64)
    number = sum(int(grey[4:12, bit * BLOCK + 4 : bit * BLOCK + 12].mean() > 128) << bit for bit in range(BITS))
    return (number + 2**BITS * (int(now * 1e4) // 2**BITS)) / 1e4


def act(run: str, orders: Any, told: Any) -> None:
    """The actor's process: for each order, a condition and its seconds, tells its steps, those late, and its seconds of CPU."""
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    from hands import LockStep

    from warmloop.actor.config import ActorConfig
    from warmloop.actor.environment.environment import EnvironmentConfig
    from warmloop.actor.operating.actor_desk import ActorDesk
    from warmloop.data.desk.desk import Desk
    from warmloop.data.files.run_folder import RunFolder

    gym.register(ROBOT, lambda: Robot(), max_episode_steps=STEPS)
    environment = EnvironmentConfig(ROBOT, success="info:success", unseen=("front", "wrist"))
    desk = ActorDesk()
    loop = LockStep(ActorConfig(simulator=False, hold_episodes=True), environment=environment, desk=desk)
    steps = loop.loop.steps()
    for _ in range(2 * STEPS):
        next(steps)
    while (order := orders.get()) is not None:
        condition, seconds = order
        opened = contextlib.nullcontext() if condition == "no desk" else Desk(RunFolder(Path(run)).desks, "actor-0", desk)
        with opened:
            told.put("open")
            orders.get()
            before, count, cpu, end = desk._late, desk._steps, time.process_time(), time.monotonic() + seconds
            while time.monotonic() < end:
                next(steps)
            told.put({"steps": desk._steps - count, "late": desk._late - before, "cpu": (time.process_time() - cpu) / seconds})
            orders.get()  # so that words are heard until they are all said
    steps.close()


def look(port: int, over: threading.Event, delays: list[float], refused: list[int], rates: list[float]) -> None:
    """One viewer: takes the stream, and every picture that it can."""
    while not over.is_set():
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        stream.request("GET", "/live")
        answer = stream.getresponse()
        if answer.status != 200:
            refused.append(1)
            answer.read()
            over.wait(2.0)
            continue
        pictures, name, count, since = http.client.HTTPConnection("127.0.0.1", port, timeout=30), "", 0, time.time()
        while not over.is_set():
            line = answer.readline().decode()
            name = line[7:].strip() if line.startswith("event: ") else name
            if line.startswith("data: ") and name == "cameras":
                for key in json.loads(line[6:]):
                    pictures.request("GET", f"/camera/{key}?n={count}")
                    data = pictures.getresponse().read()
                    if data[:2] == b"\xff\xd8":
                        delays.append(time.time() - taken_at(data, time.time()))
                        count += 1
        rates.append(count / 2 / max(time.time() - since, 1e-9))
        stream.close()


class Clicker:
    """Says words by the page's own button."""

    def __init__(self, port: int):
        from browsers import Tab, browser

        self._stack = contextlib.ExitStack()
        self._page = Tab(self._stack.enter_context(browser()), f"http://127.0.0.1:{port}/").page
        self._page.locator(".words button").first.wait_for()

    def clicked(self) -> float | None:
        """When the button was clicked, once the page shows that the episode ended by it; None where the word did not count."""
        wait = """() => new Promise((done) => {
            const at = Date.now(), heard = document.querySelector(".heard");
            document.querySelector(".words button").click();
            const look = setInterval(() => {
                if (heard.className.includes("refused") || Date.now() - at > 8000) { clearInterval(look); done([at, 0]); }
                else if (heard.textContent.includes("word")) { clearInterval(look); done([at, 1]); }
            }, 5);
        })"""
        at, counted = self._page.evaluate(wait)
        return at / 1000 if counted else None

    def close(self) -> None:
        self._stack.close()


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(run: Path) -> tuple[subprocess.Popen, int]:
    """The page's process, and its port."""
    line = [sys.executable, "-m", "warmloop.launch.page_run", str(run), "--page_port=0"]
    page = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert page.stdout is not None
    said = re.search(r":(\d+)/", page.stdout.readline())
    assert said is not None
    return page, int(said[1])


def said_words(run: Path, port: int, seconds: float) -> list[float]:
    """Delays of words that a viewer says at random moments."""
    from looking import Look

    from warmloop.data.files.run_folder import RunFolder

    clicker, other, delays, ends = Clicker(port), Look(RunFolder(run).desks, "actor-0"), list[float](), time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(random.uniform(0.3, 0.8))
        at = clicker.clicked()
        if at is None:
            continue
        while (last := other.state()["last"]).get("time", 0) < at:
            pass
        delays.append(last["time"] - at)
    clicker.close()
    other.close()
    return delays


def measure(seconds: float, rounds: int, talk: float) -> dict[str, Any]:
    """All of it; shares of a core."""
    context, found = multiprocessing.get_context("spawn"), {name: {"steps": 0, "late": 0, "cpu": []} for name in CONDITIONS}
    pictures, refused, rates, page_cpu, words = list[float](), list[int](), list[float](), list[float](), list[float]()
    with tempfile.TemporaryDirectory() as place:
        run = Path(place)
        (run / "metrics.jsonl").write_text(json.dumps({"updates": 1, "time": 1.0, "environment_steps": 1}) + "\n")
        orders, told = context.Queue(), context.Queue()
        actor = context.Process(target=act, args=(place, orders, told))
        actor.start()
        page, port = serve(run)
        for _ in range(rounds):
            for condition in CONDITIONS:
                orders.put((condition, seconds))
                told.get()
                over, viewers = threading.Event(), list[threading.Thread]()
                if condition == "ten viewers":
                    viewers = [threading.Thread(target=look, args=(port, over, pictures, refused, rates)) for _ in range(VIEWERS)]
                    for viewer in viewers:
                        viewer.start()
                    time.sleep(3.0)
                before = cpu_of(page.pid)
                orders.put("go")
                shown = told.get()
                if viewers:
                    page_cpu.append((cpu_of(page.pid) - before) / seconds)
                for key in ("steps", "late"):
                    found[condition][key] += shown[key]
                found[condition]["cpu"].append(round(shown["cpu"], 4))
                over.set()
                for viewer in viewers:
                    viewer.join()
                orders.put("on")
        orders.put(("nobody looks", talk + 10.0))
        told.get()
        orders.put("go")
        words = said_words(run, port, talk)
        told.get()
        orders.put("on")
        orders.put(None)
        page.terminate()
        page.wait()
        actor.join(30)
    return {
        "load_before": os.getloadavg()[1],
        "loop": {name: one | {"late_share": one["late"] / max(one["steps"], 1)} for name, one in found.items()},
        "page_cpu": page_cpu,
        "pictures_per_second_of_each_camera_and_viewer": float(np.mean(rates)) if rates else None,
        "camera_to_viewer": quantiles(pictures),
        "button_to_recorded": quantiles(words),
        "turned_away": len(refused),
    }


def quantiles(values: list[float]) -> dict[str, Any]:
    """Count, median and 99th percentile, in seconds."""
    if not values:
        return {"count": 0}
    return {"count": len(values), "p50": float(np.quantile(values, 0.5)), "p99": float(np.quantile(values, 0.99))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="Of each condition in a round.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--talk", type=float, default=60.0, help="Seconds in which words are said.")
    options = parser.parse_args()
    print(json.dumps(measure(options.seconds, options.rounds, options.talk), indent=1))


if __name__ == "__main__":
    main()

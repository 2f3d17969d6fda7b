"""Runs a learner, actors, evaluators and collectors on the nodes of a Ray cluster, and starts them again when they die.

    warmloop cluster start cluster.toml           starts all and follows them; Ctrl-C stops all in order
    warmloop cluster state cluster.toml           shows every process: its node, its state, its last line of output
    warmloop cluster allow cluster.toml left      lets the robot's actor `left` start, once
    warmloop cluster stop cluster.toml            stops the actors first, the learner last

cluster.toml names the run, the flags of its commands, and the resources that each process needs of its node, such as
needs = ["robot:left"]; a node declares them: ray start --address=HEAD:6379 --resources='{"robot:left": 1}'. Processes are the
ordinary commands. The learner is started again with --resume, simulators by themselves, and a robot's process never without
`allow`. Rows go straight to the learner; Ray carries none. Their output is in RUNS/EXP_NAME/cluster/NAME.log, on the
machine of `start`. The processes keep running if `start` is killed; the same command follows them again.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

import contextlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from ..data.errors import WarmloopError
from ..data.settings.near_names import did_you_mean
from .clusters.cluster_spec import LEARNER, ClusterSpec, read_spec
from .clusters.crew import last_state
from .clusters.handed_secrets import read_part
from .clusters.joining import connect
from .clusters.robot_check import check_robots
from .clusters.supervisor import begin, find
from .flags.common import log, run
from .flags.progress import LINE_EVERY_SECONDS, span
from .starting.signals import answering

ADDRESS = flags.DEFINE_string("address", "auto", "Ray cluster to join, HOST:PORT; auto is the one that this machine belongs to.")
RESUME = flags.DEFINE_bool("resume", False, "For start: resume the run from its newest checkpoint.")
FOLLOW = flags.DEFINE_bool("follow", True, "For start and stop: wait until all processes have ended; --nofollow returns at once.")
JSON = flags.DEFINE_bool("json", False, "For state: print one JSON object instead of text.")
VERBS = ("start", "state", "allow", "stop")
BEAT = 0.5
AT_ONCE_SECONDS = 2.0
START_SECONDS = 60.0


def main(words: Sequence[str]) -> None:
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise WarmloopError(f'"{verb}" is nothing that a cluster does{did_you_mean(verb, VERBS, listing=True)}')
    if len(words) != (3 if verb == "allow" else 2):
        raise WarmloopError(f"Write it as in: warmloop cluster {verb} cluster.toml{' left' if verb == 'allow' else ''}")
    spec, folder = read_spec(words[1]), Path.cwd()
    if verb == "start":
        check_credentials(spec, folder)
        check_robots(spec)
    if verb == "state":
        return show(spec, folder)
    ray = connect(ADDRESS.value)
    found = find(ray, spec)
    if verb == "start":
        start(ray, spec, folder, found)
    elif found is None:
        raise WarmloopError(f"No run {spec.exp_name} is in this cluster; start it by: warmloop cluster start {words[1]}")
    elif verb == "allow":
        possible, said = ray.get(found.allow.remote(words[2]))
        if not possible:
            raise WarmloopError(said)
        print(said)
    else:
        ray.get(found.stop.remote())
        if FOLLOW.value:
            follow(ray, spec, folder)


def start(ray: Any, spec: ClusterSpec, folder: Path, found: Any) -> None:
    """Starts the run, or follows the one that goes on."""
    if found is not None and ray.get(found.state.remote())["finished"]:
        ray.kill(found)
        found = None
        wait_until_gone(ray, spec)
    if found is None:
        found = begin(ray, spec, folder, RESUME.value)
        ray.get(found.state.remote(), timeout=START_SECONDS)
    else:
        log.info("%s runs already; this follows it", spec.exp_name)
    if FOLLOW.value:
        with answering(lambda: ray.get(found.stop.remote()), lambda: ray.get(found.stop.remote(True), timeout=AT_ONCE_SECONDS)):
            follow(ray, spec, folder)


def follow(ray: Any, spec: ClusterSpec, folder: Path) -> None:
    """Logs what happens, and the learner's last line every ten seconds, until all have ended. Raises WarmloopError where the run failed."""
    seen, said, last = Counter[int](), "", time.monotonic()
    while True:
        state, events = seen_of(ray, spec, folder, seen)
        for event in events:
            log.info("%s", event.partition(" ")[2])
        if state["finished"]:
            break
        line = next(part["said"] for part in state["parts"] if part["name"] == LEARNER)
        if line != said and time.monotonic() - last >= LINE_EVERY_SECONDS:
            said, last = line, time.monotonic()
            log.info("%s: %s", LEARNER, line)
        time.sleep(BEAT)
    if (found := find(ray, spec)) is not None:
        ray.kill(found)
    if state["failed"]:
        raise WarmloopError(state["failed"])


def seen_of(ray: Any, spec: ClusterSpec, folder: Path, seen: Counter[int]) -> tuple[dict[str, Any], list[str]]:
    """The state, and the events that are new to `seen`, which counts them for each supervisor: Ray starts another one if it dies."""
    while (found := find(ray, spec)) is not None:
        try:
            state = ray.get(found.state.remote())
            events = ray.get(found.events.remote(seen[state["supervisor"]]))
        except ray.exceptions.RayActorError:
            time.sleep(BEAT)
            continue
        seen[state["supervisor"]] += len(events)
        return state, events
    if (state := last_state(spec, folder)) is None or not state["finished"]:
        raise WarmloopError(f"The supervisor of {spec.exp_name} is gone. What it had started ends in order; --resume continues the run.")
    return state, []


def show(spec: ClusterSpec, folder: Path) -> None:
    """Prints the state; of a run that has ended, or whose Ray cluster has, the last one."""
    state, found = last_state(spec, folder), None
    try:
        ray = connect(ADDRESS.value)
        if (found := find(ray, spec)) is not None:
            state = ray.get(found.state.remote())
    except WarmloopError:
        if state is None:
            raise
    if state is None:
        raise WarmloopError(f"No run {spec.exp_name} is in this cluster, and there was none in {spec.run_folder(folder).path}.")
    if JSON.value:
        print(json.dumps(state | {"supervised": found is not None}, indent=1))
        return
    how = "ended" if state["finished"] else "broken off" if found is None else "stopping" if state["told"] else "runs"
    age = "" if found is not None else f", as it was {span(time.time() - state['time'])} ago"
    print(f"{state['run']}: {how}{age}")
    for part in state["parts"]:
        where = f"on {part['node']}" if part["node"] else "nowhere"
        process = f", process {part['pid']}" if part["pid"] else ""
        print(f"  {part['name']:<12} {part['status']} for {span(time.time() - part['since'])}, {where}{process}, starts {part['starts']}")
        for more in filter(None, (part["why"], part["said"])):
            print(f"  {'':<12} {more}")


def check_credentials(spec: ClusterSpec, folder: Path) -> None:
    """Raises WarmloopError where a part of the credentials is missing or damaged, before anything starts."""
    for part in spec.parts() if spec.credentials else ():
        if part.secrets:
            read_part(folder / Path(str(spec.credentials)).expanduser(), part.secrets)


def wait_until_gone(ray: Any, spec: ClusterSpec) -> None:
    """Waits until Ray has forgotten the supervisor of an earlier run of the name."""
    deadline = time.monotonic() + START_SECONDS
    with contextlib.suppress(ValueError):
        while time.monotonic() < deadline:
            ray.get_actor(spec.exp_name)
            time.sleep(BEAT)


def cli() -> None:
    """The console script `warmloop-cluster`."""
    run(main, files=True)


if __name__ == "__main__":
    cli()

"""An hour of one learner and four actors with random kills every minute: nothing lost, nothing twice, memory and disk flat.

    make soak                     # SOAK_SECONDS=600 for a shorter one, SOAK_SEED=N for the same kills

The learner has the real intake, journal and service, and no model; the actors have real spools and clients, and no environment
(tests/helpers). Prints a line a minute and a verdict; its exit code is 1 if anything was wrong.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("helpers")))

from actors import ActorProcess
from learners import LearnerProcess, assert_each_once, resident_bytes

from warmloop.data.wire import MIB

SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))
SEED = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(10**6)))
ACTORS, RATE, MINUTE = 4, 50.0, 60.0
# The pool holds the rows of a minute, and segments are small, so that segments are deleted all the time.
OPTIONS = ("--ring=10000", "--save-every=2000", "--segment=1000000", "--rest=0.01", "--lease=20")
GROWTH = 64 * MIB  # of the learner's memory beyond what it took in the first quarter
JOURNAL = 64 * MIB  # on disk at most; the pool is 5 MiB of it


class Soak:
    """The processes, what befalls them, and what was seen."""

    def __init__(self, folder: Path):
        self.chance, self.folder, self.kills = random.Random(SEED), folder, 0
        self.learner = LearnerProcess(folder / "learner", *OPTIONS)
        self.actors = [ActorProcess(self.learner.port, n, folder / f"actor-{n}", RATE) for n in range(ACTORS)]
        self.memory: list[int] = []
        self.faults: list[str] = []

    def minute(self, number: int, last: bool) -> None:
        """A minute of running, then a few kills, then a line."""
        acknowledged, known = [actor.acknowledged for actor in self.actors], len(self.faults)
        started = [actor for actor in self.actors if actor.started]  # on a busy machine it takes a process minutes to begin
        time.sleep(MINUTE - 10.0)
        dead = [f"actor {actor.number}" for actor in self.actors if actor.process.poll() is not None]
        dead += [] if self.learner.alive else ["the learner"]
        stuck = [f"actor {actor.number}" for actor in started if actor.acknowledged <= acknowledged[actor.number]]
        self.faults += [f"minute {number}: {who} has ended by itself" for who in dead]
        self.faults += [f"minute {number}: nothing of {who} was acknowledged" for who in stuck]
        self.memory.append(resident_bytes(self.learner.pid) if self.learner.alive else 0)
        journal, spools = size(self.folder / "learner" / "journal"), sum(size(actor.folder / "spool") for actor in self.actors)
        if journal > JOURNAL:
            self.faults.append(f"minute {number}: the journal takes {journal / MIB:.0f} MiB")
        killed = [] if last else self.kill()
        rows = sum(actor.acknowledged for actor in self.actors)
        print(
            f"minute {number}: {rows} rows acknowledged, learner {self.memory[-1] / MIB:.0f} MiB, journal {journal / MIB:.1f} MiB, "
            f"spools {spools / MIB:.1f} MiB, killed {', '.join(killed) or 'nobody'}; {'; '.join(self.faults[known:]) or 'all well'}",
            flush=True,
        )

    def kill(self) -> list[str]:
        """Kills one to three of the five within ten seconds, and starts them again."""
        victims = self.chance.sample([self.learner, *self.actors], self.chance.randint(1, 3))
        rest = 10.0
        for victim in victims:
            pause = self.chance.uniform(0.0, rest / 3)
            time.sleep(pause)
            rest -= pause
            victim.kill()
            victim.start()
            self.kills += 1
        return ["the learner" if victim is self.learner else f"actor {victim.number}" for victim in victims]

    def end(self) -> None:
        """All leave in order; what was inserted is checked row for row."""
        ends = {actor.number: actor.finish() for actor in self.actors}
        self.learner.stop()
        pool = self.learner.pool()
        assert_each_once(pool, ends)
        quarter = max(1, len(self.memory) // 4)
        grown = max(self.memory[quarter:], default=self.memory[0]) - max(self.memory[:quarter])
        if grown > GROWTH:
            self.faults.append(f"the learner's memory grew by {grown / MIB:.0f} MiB")
        for process in (self.learner, *self.actors):
            self.faults += [line for line in process.log().splitlines() if "ERROR" in line or "Traceback" in line]
        print(f"{len(pool)} rows, each inserted once; {self.kills} kills; learner {grown / MIB:+.1f} MiB after the first quarter")


def size(folder: Path) -> int:
    """Bytes of a folder's files."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # deleted meanwhile
            continue
    return total


def main() -> None:
    print(f"SOAK_SEED={SEED} SOAK_SECONDS={SECONDS:.0f}", flush=True)
    number, deadline = 0, time.monotonic() + SECONDS
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    soak = Soak(folder)
    try:
        while time.monotonic() < deadline - MINUTE / 2:
            number += 1
            soak.minute(number, last=time.monotonic() + 1.5 * MINUTE > deadline)
        soak.end()
    except AssertionError as error:
        soak.faults.append(str(error))
    finally:
        for process in (soak.learner, *soak.actors):
            process.kill()
    if soak.faults:
        print("\n".join(soak.faults), f"FAILED; the files are in {folder}", sep="\n", flush=True)
    else:
        shutil.rmtree(folder)
        print("PASSED: nothing lost, nothing twice, memory and disk flat", flush=True)
    sys.exit(bool(soak.faults))


if __name__ == "__main__":
    main()

"""The bench's tasks: what is learnt, from which recordings, and which half it is in.

The choosing half is for trying recipes; the judging half is run once for a recipe that is believed to be done. The split was made before
the first run of the bench, and keeps in the choosing half what warmloop's recipe was found on: peg-insert-side, the cube, and Adroit's
door from human and hammer from suboptimal data. Both halves have hands, easy and hard arms, long tasks, recordings with pauses, with two
ways around and with corrections, suboptimal data, luck, and dense rewards. The three hands are in both, from other recordings: no other
recordings of hands are here. Adroit's pen is in neither, since no expert of it is here.
"""

from __future__ import annotations

import dataclasses

from warmloop.learner.judging.scores import REFERENCES

DEMOS, SUBOPTIMAL, RANDOM = "demos", "suboptimal", "random"
CHOOSING, JUDGING = "choosing", "judging"
HALVES = (CHOOSING, JUDGING)


@dataclasses.dataclass(frozen=True)
class Shared:
    """A file beside the repository, or its `first` episodes; 0 for all of them."""

    kind: str
    file: str
    first: int = 0


@dataclasses.dataclass(frozen=True)
class Collected:
    """Episodes recorded by warmloop-collect, with these flags beside the configuration."""

    kind: str
    episodes: int
    policy: str = "scripted"
    noise: str = "0"
    more: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Learnt:
    """Every episode that SAC learnt from, from nothing, until its mean return was `until`, or for `steps` (behaviour.py)."""

    kind: str
    until: float
    steps: int
    settings: str = "{}"


@dataclasses.dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: also of its folder of data.
        half: CHOOSING or JUDGING.
        config: as --config takes it. Its horizon is the task's.
        sources: the recordings that it is warmed up on.
        kinds: what it is an example of.
        minutes: of one seed by the recipe `old`, 10,000 steps, on a core: an estimate.
        best: the highest success that any policy has.
        returns: of a random and of a good policy, where the measure is the return; None where it is success.
        judged: share of an evaluation's episodes that it is judged by, where its simulator is slow.
    """

    name: str
    half: str
    config: str
    sources: tuple[Shared | Collected | Learnt, ...]
    kinds: tuple[str, ...]
    minutes: float
    best: float = 1.0
    returns: tuple[float, float] | None = None
    judged: float = 1.0


def arm(name: str, half: str, kinds: tuple[str, ...], minutes: float, *sources: Collected) -> Task:
    """One of Meta-World's tasks."""
    return Task(f"mw-{name}", half, f"configs/metaworld.py:{name}", sources, ("arm", *kinds), minutes)


def hand(name: str, half: str, minutes: float, *sources: Shared) -> Task:
    """One of Adroit's, named HAND-RECORDINGS."""
    kinds = ("hand", "suboptimal") if all(source.kind != DEMOS for source in sources) else ("hand",)
    return Task(name, half, f"configs/adroit.py:{name.split('-')[0]}", sources, kinds, minutes)


def own(name: str, half: str, kinds: tuple[str, ...], minutes: float, *sources: Collected | Learnt, **measure: float | tuple) -> Task:
    """One of warm_config.py."""
    return Task(name, half, f"warm_config.py:{name}", sources, kinds, minutes, **measure)  # type: ignore[arg-type]


def disturbed(name: str) -> tuple[Shared, Shared]:
    """A hand's recordings without demonstrations: a disturbed policy's, and random actions."""
    return Shared(SUBOPTIMAL, f"{name}-suboptimal"), Shared(RANDOM, f"{name}-random")


CORRECTED = ("--intervention=teacher:patience=10,hold=15",)
WHOLE = ("--nostop_at_success",)
SWINGS = Collected(SUBOPTIMAL, 40, "warm_experts:swinger", "0.5:1.5", WHOLE)
WARMER = '{"initial_temperature": 1.0, "target_entropy_per_dim": -1.0, "actor_lr": 3e-4}'  # Hopper's learning stands still otherwise

TASKS = (
    # Adroit's hands: 10, 25 and 100 demonstrations, suboptimal ones alone, human ones alone.
    hand("relocate-suboptimal", CHOOSING, 7, *disturbed("relocate")),
    hand("door-10", CHOOSING, 7, Shared(DEMOS, "door-expert", 10)),
    hand("door-human", CHOOSING, 7, Shared(DEMOS, "door-human-replay")),
    hand("hammer-25", CHOOSING, 7, Shared(DEMOS, "hammer-expert", 25)),
    hand("hammer-suboptimal", CHOOSING, 7, *disturbed("hammer")),
    hand("relocate-25", JUDGING, 7, Shared(DEMOS, "relocate-expert", 25)),
    hand("door-100", JUDGING, 7, Shared(DEMOS, "door-expert", 100)),
    hand("door-suboptimal", JUDGING, 7, *disturbed("door")),
    hand("hammer-10", JUDGING, 7, Shared(DEMOS, "hammer-expert", 10)),
    hand("hammer-100", JUDGING, 7, Shared(DEMOS, "hammer-expert", 100)),
    # Meta-World's arm.
    arm("door-open", CHOOSING, ("easy",), 5, Collected(DEMOS, 10)),
    arm("window-open", CHOOSING, ("easy",), 5, Collected(DEMOS, 25, noise="0.8")),
    arm("peg-insert-side", CHOOSING, ("hard", "suboptimal"), 6, Collected(DEMOS, 100, noise="0.3:0.8")),
    arm("assembly", CHOOSING, ("hard",), 6, Collected(DEMOS, 40, noise="0.4")),
    arm("stick-pull", CHOOSING, ("hard", "suboptimal"), 6, Collected(SUBOPTIMAL, 60, noise="0:0.8")),
    arm("coffee-push", CHOOSING, ("suboptimal",), 6, Collected(SUBOPTIMAL, 60, noise="0.5:1.2"), Collected(RANDOM, 10, "random")),
    arm("button-press-wall", CHOOSING, ("pauses",), 5, Collected(DEMOS, 40, "warm_experts:Paused", "0.2")),
    arm("push", CHOOSING, ("two ways",), 5, Collected(DEMOS, 40, "warm_experts:TwoWays", "0.2")),
    arm("pick-place", CHOOSING, ("corrections",), 6, Collected(SUBOPTIMAL, 60, "warm_experts:Erring", "0.2", CORRECTED)),
    arm("drawer-open", JUDGING, ("easy",), 5, Collected(DEMOS, 10)),
    arm("faucet-open", JUDGING, ("easy",), 5, Collected(DEMOS, 25, noise="0.8")),
    arm("pick-place-wall", JUDGING, ("hard", "suboptimal"), 6, Collected(DEMOS, 60, noise="0.2:0.6")),
    arm("disassemble", JUDGING, ("hard",), 6, Collected(DEMOS, 40, noise="0.4")),
    arm("shelf-place", JUDGING, ("hard", "suboptimal"), 6, Collected(SUBOPTIMAL, 60, noise="0:0.8")),
    arm("soccer", JUDGING, ("suboptimal",), 6, Collected(SUBOPTIMAL, 60, noise="0.5:1.2"), Collected(RANDOM, 10, "random")),
    arm("handle-pull", JUDGING, ("pauses",), 5, Collected(DEMOS, 40, "warm_experts:Paused", "0.2")),
    arm("sweep-into", JUDGING, ("two ways",), 5, Collected(DEMOS, 40, "warm_experts:TwoWays", "0.2")),
    arm("bin-picking", JUDGING, ("corrections",), 6, Collected(SUBOPTIMAL, 60, "warm_experts:Erring", "0.2", CORRECTED)),
    # Other arms.
    Task("hil-cube", CHOOSING, "configs/gym_hil.py:pick-cube", (Collected(DEMOS, 20, noise="0.5"),), ("arm",), 7),
    Task(
        "hil-boxes",
        JUDGING,
        "configs/gym_hil.py:arrange-boxes",
        (Collected(DEMOS, 50, noise="0.3"),),
        ("arm", "hard", "long"),
        11,
        judged=0.4,
    ),
    own("cube-single", CHOOSING, ("arm",), 7, Collected(DEMOS, 50, "warm_oracles:Oracle", "0.6")),
    own("scene", CHOOSING, ("arm", "hard", "long"), 7, Collected(DEMOS, 60, "warm_oracles:Oracle", "0.5"), judged=0.5),
    own("cube-double", JUDGING, ("arm", "hard", "long"), 7, Collected(DEMOS, 60, "warm_oracles:Oracle", "0.5"), judged=0.5),
    own("puzzle-3x3", JUDGING, ("arm",), 7, Collected(DEMOS, 50, "warm_oracles:Oracle", "0.6")),
    own("fetch-push", CHOOSING, ("arm",), 6, Collected(DEMOS, 100, "warm_experts:Fetch", "0:0.6")),
    own("fetch-pick-and-place", JUDGING, ("arm",), 6, Collected(DEMOS, 100, "warm_experts:Fetch", "0:0.3")),
    own("kitchen-slide", JUDGING, ("arm",), 7, Collected(DEMOS, 40, "warm_experts:Kitchen", "0:0.4")),
    # Luck, and rewards that are not the success signal.
    own("lucky-70", CHOOSING, ("luck",), 5, Collected(SUBOPTIMAL, 100, "warm_experts:presser", "0.5"), best=0.7),
    own("lucky-40", JUDGING, ("luck",), 5, Collected(SUBOPTIMAL, 100, "warm_experts:presser", "0.5"), best=0.4),
    Task("pendulum", CHOOSING, "configs/classic.py:pendulum", (SWINGS,), ("dense", "negative"), 2, returns=(-1_200.0, -150.0)),
    own("fetch-push-dense", JUDGING, ("arm", "dense", "negative"), 6, Collected(SUBOPTIMAL, 100, "warm_experts:Fetch", "0.2:0.8", WHOLE)),
    own("halfcheetah", CHOOSING, ("dense", "long"), 7, Learnt(SUBOPTIMAL, 2_500, 30_000), returns=REFERENCES["halfcheetah"]),
    own("hopper", JUDGING, ("dense", "long"), 7, Learnt(SUBOPTIMAL, 1_000, 40_000, WARMER), returns=REFERENCES["hopper"]),
)
NAMED = {task.name: task for task in TASKS}

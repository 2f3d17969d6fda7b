"""The schema: which arrays a row has. Actor and learner compare it once; after that, bytes alone travel."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from ..action_limits import ActionLimits
from ..errors import WarmloopError
from ..transition import Array, Leaf, Spec, Transition, example

OBSERVATIONS = ("observation", "next_observation")
KWARGS = "environment.kwargs."
FEW, SHOWN = 4, 200  # settings in a sentence, and characters of a value

Settings = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Camera:
    """Two leaves of a schema that hold the pictures of one camera.

    Attributes:
        observation, next_observation: their names.
        shape: of one row: `[H, W]`, `[H, W, C]`, or `[k, H, W, C]` for a stack.
    """

    observation: str
    next_observation: str
    shape: tuple[int, ...]

    @cached_property
    def stack(self) -> int:
        """Pictures in one observation, k."""
        return self.shape[0] if len(self.shape) == 4 else 1

    @cached_property
    def size(self) -> int:
        """Bytes of one picture."""
        return math.prod(self.shape) // self.stack

    @cached_property
    def distances(self) -> tuple[int, ...]:
        """How many pictures earlier an equal one is looked for, likely ones first, if pictures are in order of rows, a row's observation
        before its next: in the observation before; in it, one place further; or the picture before, as a stack begins after a reset."""
        return tuple(dict.fromkeys(back for back in (self.stack, self.stack - 1, 1) if back > 0))

    def pictures(self, leaf: Array) -> Array:
        """A leaf `[n, ...]` as `[n, k, bytes of a picture]`."""
        return np.ascontiguousarray(leaf).reshape(len(leaf), self.stack, self.size)


@dataclasses.dataclass(frozen=True)
class Schema:
    """The leaves of a Transition row, sorted by name, and what else the two sides must agree on.

    Attributes:
        leaves: name, shape of one row, and dtype; a dict observation's leaves are named `observation/KEY`.
        env_id: the environment.
        control_hz: control rate in Hz, 0 where there is none (simulators).
        action_bounds: range of every action component.
        action_limits: what the least and the greatest action are in the environment's units; None for its action space's own limits.
        settings: what else decides a row, as names and values in text (`configs/rows.py`), sorted; () where nothing is said of it.
    """

    leaves: tuple[Leaf, ...]
    env_id: str
    control_hz: float = 0.0
    action_bounds: tuple[float, float] = (-1.0, 1.0)
    action_limits: ActionLimits | None = None
    settings: Settings = ()

    @classmethod
    def of(
        cls, spec: Spec, env_id: str, control_hz: float = 0.0, action_limits: ActionLimits | None = None, settings: Settings = ()
    ) -> Schema:
        """The schema of an environment's transitions."""
        rows = flatten(example(spec))
        leaves = (Leaf(name, tuple(x.shape[1:]), str(x.dtype)) for name, x in sorted(rows.items()))
        return cls(tuple(leaves), env_id, float(control_hz), action_limits=action_limits, settings=settings)

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Parses what `json` gives. Raises WarmloopError for anything else."""
        try:
            fields = json.loads(text)
            leaves = tuple(
                Leaf(str(name), tuple(int(n) for n in shape), np.dtype(str(dtype)).name) for name, shape, dtype in fields["leaves"]
            )
            low, high = fields["action_bounds"]
            limits = ActionLimits(**fields["action_limits"]) if "action_limits" in fields else None
            settings = tuple(sorted((str(name), str(value)) for name, value in fields.get("settings", {}).items()))
            return cls(leaves, str(fields["env_id"]), float(fields["control_hz"]), (float(low), float(high)), limits, settings)
        except Exception as error:  # json, int, float and np.dtype have many kinds of them for what a peer may send
            raise WarmloopError(f"The actor's schema cannot be read ({str(error)[:200]}); is it the same version of warmloop?") from error

    @cached_property
    def json(self) -> str:
        """The canonical text, which is what is hashed."""
        fields = dataclasses.asdict(self) | {"leaves": [dataclasses.astuple(leaf) for leaf in self.leaves]}
        if self.action_limits is None:
            del fields["action_limits"]
        fields["settings"] = dict(self.settings)
        if not self.settings:
            del fields["settings"]
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @cached_property
    def hash(self) -> bytes:
        """sha256 of `json`, 32 bytes."""
        return hashlib.sha256(self.json.encode()).digest()

    @cached_property
    def without_settings(self) -> Schema:
        """What rows look like, whatever decided them: the schema of versions that did not know `settings`."""
        return dataclasses.replace(self, settings=())

    @cached_property
    def cameras(self) -> tuple[Camera, ...]:
        """Its cameras: leaves of pictures that an observation and its next one have alike. A stack is at most 255 pictures."""
        known, (here, after) = {leaf.name: leaf for leaf in self.leaves}, OBSERVATIONS
        pairs = [(leaf, known.get(after + leaf.name.removeprefix(here))) for leaf in self.leaves if leaf.name.partition("/")[0] == here]
        cameras = (
            Camera(leaf.name, twin.name, tuple(leaf.shape))
            for leaf, twin in pairs
            if twin is not None and leaf.dtype == twin.dtype == "uint8" and leaf.shape == twin.shape and len(leaf.shape) >= 2
        )
        return tuple(camera for camera in cameras if math.prod(camera.shape) > 0 and camera.stack < 256)

    @cached_property
    def without_pictures(self) -> Schema:
        """The schema of all leaves but the cameras'."""
        names = {name for camera in self.cameras for name in (camera.observation, camera.next_observation)}
        return dataclasses.replace(self, leaves=tuple(leaf for leaf in self.leaves if leaf.name not in names))

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one row in a frame."""
        return sum(size for *_, size in self.layout)

    @cached_property
    def layout(self) -> tuple[tuple[str, np.dtype, tuple[int, ...], int], ...]:
        """Name, little-endian type, shape and bytes of each leaf of a row, in the order of a frame."""
        types = [(leaf, np.dtype(leaf.dtype).newbyteorder("<")) for leaf in self.leaves]
        return tuple((leaf.name, dtype, tuple(leaf.shape), dtype.itemsize * math.prod(leaf.shape)) for leaf, dtype in types)


def difference(mine: Schema, theirs: Schema) -> str | None:
    """One sentence saying how the actor's schema (`theirs`) differs from the learner's (`mine`), or None."""
    if mine == theirs:
        return None
    for what, ours, other in (
        ("environment", mine.env_id, theirs.env_id),
        ("control rate in Hz", mine.control_hz, theirs.control_hz),
        ("action range", mine.action_bounds, theirs.action_bounds),
    ):
        if ours != other:
            return f"The learner's {what} is {ours} and the actor's is {other}; start both with the same configuration."
    if mine.settings and not theirs.settings:
        return "The actor does not say by which reward and settings it makes its rows; install the learner's version of warmloop there too."
    if mine.action_limits != theirs.action_limits:
        ours, other = (limits or "the action space's own" for limits in (mine.action_limits, theirs.action_limits))
        flags = shlex.join(mine.action_limits.flags()) if mine.action_limits else "no environment.action_low and action_high"
        return f"The learner's action limits are {ours} and the actor's {other}; start the actor with {flags}."
    if differing := list(differences(mine.settings, theirs.settings)):
        told = settings_told(differing, "the learner's", "the actor's")
        return f"{told[0].upper()}{told[1:]}; start both with the same configuration{advice(differing)}."
    known, sent = ({leaf.name: leaf for leaf in schema.leaves} for schema in (mine, theirs))
    name = next((name for name in sorted(known | sent) if known.get(name) != sent.get(name)), None)
    if name is None:
        return "The actor names a row's parts twice or in another order; install the same version of warmloop on both."
    ours, other = (_described(leaves.get(name)) for leaves in (known, sent))
    return f"The learner's \"{name}\" is {ours} and the actor's is {other}; start both with the same environment and wrappers."


def differences(mine: Settings, theirs: Settings) -> Iterator[tuple[str, str, str]]:
    """Name, value and value of each setting that two have differently; "absent" where one has none."""
    ours, others = dict(mine), dict(theirs)
    for name in sorted(ours | others):
        pair = ours.get(name, "absent"), others.get(name, "absent")
        if pair[0] != pair[1]:
            yield name, *pair


def settings_told(differing: Sequence[tuple[str, str, str]], one: str, another: str) -> str:
    """The beginning of a sentence on settings that two have differently, by what each is called, as in "the learner's"."""
    told = [f"{one} {name} is {ours[:SHOWN]} and {another} is {other[:SHOWN]}" for name, ours, other in differing[:FEW]]
    more = f", and {len(differing) - FEW} more settings differ" if len(differing) > FEW else ""
    return ", ".join(told) + more


def advice(differing: Sequence[tuple[str, str, str]]) -> str:
    """What else may be done where arguments of an environment differ."""
    names = [name.removeprefix(KWARGS) for name, *_ in differing if name.startswith(KWARGS)]
    return f", or name {' and '.join(names[:FEW])} in environment.local_kwargs if it decides nothing about a row" if names else ""


def _described(leaf: Leaf | None) -> str:
    return "absent" if leaf is None else f"{leaf.dtype} {list(leaf.shape)}"


def flatten(rows: Transition) -> dict[str, Array]:
    """The leaves of a Transition by schema name."""
    leaves: dict[str, Array] = {}
    for field, value in rows.__dict__.items():
        if isinstance(value, Mapping):
            leaves |= {f"{field}/{key}": x for key, x in value.items()}
        else:
            leaves[field] = value
    return leaves


def unflatten(leaves: Mapping[str, Array]) -> Transition:
    """The inverse of `flatten`."""
    fields: dict[str, Array] = {name: x for name, x in leaves.items() if "/" not in name}
    for field in OBSERVATIONS:
        if field not in fields:
            fields[field] = {name.split("/", 1)[1]: x for name, x in leaves.items() if name.startswith(f"{field}/")}
    return Transition(**fields)

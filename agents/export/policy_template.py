"""A policy that needs NumPy alone, as `warmloop-export` wrote it.

    from policy import Policy

    policy = Policy("this/folder")
    action = policy(observation)          # [A] in the environment's own units
    scaled = policy.scaled(observation)   # the same action in [-1, 1]

Of a policy that acts in chunks each call gives the next action of its plan; call `policy.reset()` where an episode begins, and where
somebody else has acted.

`observation` is an array, or a dict of arrays, of the shapes that policy.json gives; for a policy of several tasks say which one it is at:
Policy(folder, task="door-open"). `act`, at the end of this file, is the agent's own acting function, written out in NumPy.

The same as a StableHLO program, for a batch, with jax and flatbuffers:

    from jax import export
    act = export.deserialize(bytearray(open("policy.stablehlo", "rb").read())).call
    actions = act(safetensors.numpy.load_file("weights.safetensors"), observations)       # [B, A] in [-1, 1]

and sampled.stablehlo, which also takes a seed and the steps `[B]` of the episode, and samples. Its observations, unlike policy.py's, hold
the task's code if the policy knows several.
"""

import json
from pathlib import Path

import numpy as np

DTYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8", "U32": "<u4", "U8": "u1", "BOOL": "?"}


class Policy:
    """The policy in a folder, acting by its mode. Raises ValueError for an observation of another shape, or a task it does not know."""

    def __init__(self, folder, task=None):
        folder = Path(folder)
        self.about = json.loads((folder / "policy.json").read_text())
        self.weights = read_safetensors(folder / "weights.safetensors")
        constants = folder / "constants.safetensors"
        self.constants = list(read_safetensors(constants).values()) if constants.exists() else []
        self.low, self.high = (np.array(self.about["action"][name], np.float64) for name in ("low", "high"))
        names = self.about["tasks"]["names"]
        if task not in names and (task is not None or len(names) > 1):
            raise ValueError(f"the task is {task!r}; this policy knows {names or 'a single one, without a name'}")
        codes = self.about["tasks"]["codes"] or [[]]
        self.code = np.array(codes[names.index(task) if task else 0], np.float32)
        self.execute = (self.about.get("plan") or {"execute": 1})["execute"]
        self.reset()

    def reset(self):
        """Drops what is planned."""
        self.left = []

    def __call__(self, observation):
        """The action `[A]` float32 in the environment's units."""
        share = (self.scaled(observation).astype(np.float64) + 1.0) * 0.5
        return np.clip(self.low * (1.0 - share) + self.high * share, self.low, self.high).astype(np.float32)

    def scaled(self, observation):
        """The action `[A]` float32 in [-1, 1]."""
        if not self.left:
            self.left = list(self.planned(observation)[: self.execute])
        return self.left.pop(0)

    def planned(self, observation):
        """The actions `[h, A]` float32 in [-1, 1] of the next h steps; h is 1 unless the policy acts in chunks."""
        given = dict(observation) if isinstance(observation, dict) else {"": observation}
        leaves = {}
        for name, leaf in self.about["observation"].items():
            if name not in given:
                raise ValueError(f"the observation has no {name!r}; it has {sorted(given)}")
            leaves[name] = np.asarray(given[name], leaf["dtype"])
            if leaves[name].shape != tuple(leaf["shape"]):
                raise ValueError(f"observation {name!r} has shape {leaves[name].shape}, and must have {tuple(leaf['shape'])}")
        if len(self.code) and "" in leaves:
            leaves[""] = np.concatenate([leaves[""], self.code])
        elif len(self.code):
            leaves["task"] = self.code
        actions = np.asarray(act(self.weights, self.constants, leaves), np.float32)  # noqa: F821  # pyright: ignore[reportUndefinedVariable]
        return actions.reshape(-1, actions.shape[-1])


def read_safetensors(path):
    """The arrays of a file, by name: 8 bytes of the header's length, the header in JSON, the arrays' bytes."""
    raw = Path(path).read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    arrays = {}
    for name, entry in sorted(json.loads(raw[8:start]).items()):
        if name != "__metadata__":
            low, high = entry["data_offsets"]
            arrays[name] = np.frombuffer(raw[start + low : start + high], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays

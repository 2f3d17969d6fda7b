"""The flag that says in how many simulators at once a process plays."""

from __future__ import annotations

from absl import flags

from ...data.errors import WarmloopError

flags.disclaim_key_flags()  # a command's --help lists it among its own
MOST = 64


def define_envs(what: str) -> flags.FlagHolder[int]:
    """The flag --envs of a command that plays episodes; `what` it is for, as its help says."""
    return flags.DEFINE_integer(
        "envs",
        1,
        f"Simulators that {what} plays in at once, each its own episode, with one call of the policy for all of them. Not for robots.",
        lower_bound=1,
        upper_bound=MOST,
    )


def check_alone(envs: int, intervention: str) -> None:
    """Raises WarmloopError where somebody could take over one of several simulators."""
    if envs > 1 and intervention != "none":
        raise WarmloopError(
            f"--intervention={intervention} is for one environment, and --envs={envs} plays in {envs} at once; leave one of them out."
        )

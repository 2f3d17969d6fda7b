"""Several simulators that one policy acts in at once, each with an episode of its own.

The simulators are stepped one after the other, in this process, and are reset as soon as their episode is over: none waits for the
others, no step is spent on a reset, and the last observation of an episode is that of its last step. docs/design.md says why they are
not a vector environment of Gymnasium.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from ...data.errors import WarmloopError
from ...data.transition import alone
from ..environment.environment import Environment
from ..policies.policy import AgentPolicy, Policy, Unaided
from ..policies.shared_policy import Ask, no_look

Look = Callable[[Mapping[int, Ask]], None]
T = TypeVar("T")


class Abreast:
    """N environments, and who acts in each.

    Args:
        look: called with the observations of all episodes that wait for an action, by place, before their policies are called.
    """

    def __init__(self, environments: Sequence[Environment], policies: Sequence[Policy], look: Look = no_look):
        self.environments, self.policies, self.look = environments, policies, look

    @classmethod
    def of(cls, environments: Sequence[Environment], make_policy: Callable[[Environment], Policy]) -> Abreast:
        """N environments with the policy that `make_policy` makes: an agent's acts in all of them by one call, and of another kind each
        environment has one of its own."""
        first = make_policy(environments[0])
        if len(environments) == 1:
            return cls(environments, [first])
        if isinstance(first, AgentPolicy):
            shared = first.shared(len(environments))
            return cls(environments, shared.seats, shared.look)
        if isinstance(first, Unaided) and isinstance(first.policy, AgentPolicy):
            spec = first.spec
            shared = first.policy.shared(len(environments), lambda observation: alone(observation, spec))
            return cls(environments, [Unaided(seat, spec) for seat in shared.seats], shared.look)
        return cls(environments, [first, *(make_policy(environment) for environment in environments[1:])])

    def play(self, numbers: Iterable[int], episode: Callable[[int, int], Generator[Ask, None, T]]) -> Iterator[tuple[int, T]]:
        """Yields `(number, result)` of the episodes `numbers`, in the order in which they end.

        Args:
            numbers: taken one at a time, whenever a place is free.
            episode: `(place, number)` to the episode, which yields before each action and returns its result.
        """
        waiting, asks = iter(numbers), dict[int, Ask]()
        running: dict[int, tuple[int, Generator[Ask, None, T]]] = {}
        try:
            while True:
                for place in range(len(self.environments)):
                    while place not in running and (number := next(waiting, None)) is not None:
                        running[place] = number, episode(place, number)
                        yield from self._advance(place, running, asks)
                if not running:
                    return
                self.look(asks)
                for place in list(running):
                    yield from self._advance(place, running, asks)
        finally:
            for _, unfinished in running.values():
                unfinished.close()

    @staticmethod
    def _advance(place: int, running: dict[int, tuple[int, Generator[Ask, None, T]]], asks: dict[int, Ask]) -> Iterator[tuple[int, T]]:
        """Lets the episode of a place go on to its next action; yields its number and result where it ends before."""
        number, going = running[place]
        try:
            asks[place] = next(going)
        except StopIteration as end:
            asks.pop(place, None)
            del running[place]
            yield number, end.value


def check_several(environment: Environment, count: int) -> None:
    """Raises WarmloopError where `count` of an environment are to be used at once, and it may be a robot."""
    if count > 1 and (environment.can_rest or (environment.use is not None and not environment.use.simulator)):
        raise WarmloopError(
            f'Environment "{environment.config.id}" is a robot, or like one (it has a safe_stop, or actor.simulator is False), and '
            f"--envs={count} is for simulators; leave --envs out, and start an actor for each robot."
        )

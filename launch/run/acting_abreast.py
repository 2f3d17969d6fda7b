"""An actor process with several simulators: each has a spool and a connection of its own."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..flags.common import log
from ..starting.signals import answering

if TYPE_CHECKING:
    import grpc

    from ...actor.control_loop import EpisodeStream
    from ...actor.delivery.client import Among, Client
    from ...agents import Agent
    from ...configs.schema import RunConfig
    from ...data.files.run_folder import RunFolder
    from ...data.wire.row_schema import Schema


def act_abreast(config: RunConfig, run: RunFolder, name: str, channel: grpc.Channel, stream: EpisodeStream, envs: int) -> None:
    """Acts in `envs` simulators as the actor `name`, until the learner says stop.

    Raises:
        WarmloopError: the environment may be a robot, or what a single one raises.
    """
    from ...actor.environment.environment import make_environment
    from ...actor.episodes.abreast import check_several
    from ...actor.loops_abreast import LoopsAbreast
    from .assemble import fine_agent, schema_of
    from .recorded_data import target_of

    with contextlib.ExitStack() as opened:
        environments = []
        for _ in range(envs):
            environment = make_environment(config.environment, config.reward, tasks=config.tasks, use=config.actor)
            environments.append(opened.enter_context(contextlib.closing(environment)))
            check_several(environment, envs)
        agent, schema = fine_agent(config, environments[0].spec), schema_of(config, target_of(environments[0]))
        clients = Connections(config, run.spools, channel, schema, agent)
        opened.callback(clients.close)
        names = names_of(name, envs)
        clients.open(names)
        clients.send_what_is_left(set(left_spools(run.spools, name)) - set(names))
        with answering(clients.stop):
            LoopsAbreast(environments, agent, clients.open_ones, config.actor, stream, run.quarantine).run()


def names_of(name: str, envs: int) -> list[str]:
    """What the learner calls the streams of an actor: NAME, and NAME.1, NAME.2, … of its further simulators."""
    return [name, *(f"{name}.{number}" for number in range(1, envs))]


def left_spools(spools: Path, name: str) -> list[str]:
    """The streams of an actor's further simulators that have a spool."""
    found = (path.name for path in spools.glob(f"{name}.*") if path.is_dir())
    return sorted(one for one in found if one.removeprefix(f"{name}.").isdigit() and any((spools / one).glob("*.rows")))


class Connections:
    """The clients of an actor with several simulators, over one channel, and their spools.

    Attributes:
        open_ones: those of the simulators, in order; the first fetches the weights for all.
    """

    def __init__(self, config: RunConfig, spools: Path, channel: grpc.Channel, schema: Schema, agent: Agent):
        self._config, self._spools, self._channel, self._schema, self._agent = config.actor, spools, channel, schema, agent
        self._stack = contextlib.ExitStack()
        self.open_ones: list[Client] = []

    def open(self, names: Sequence[str]) -> None:
        """Connects a client for each name."""
        from ...actor.delivery.client import Among

        rows, mebibytes = (max(1, most // len(names)) for most in (self._config.spool_rows, self._config.spool_mebibytes))
        self._config = dataclasses.replace(self._config, spool_rows=rows, spool_mebibytes=mebibytes)
        for name in names:
            leader = self.open_ones[0] if self.open_ones else None
            self.open_ones.append(self._opened(self._stack, name, Among(len(names), leader)))

    def send_what_is_left(self, names: set[str]) -> None:
        """Sends the rows of simulators that an earlier process of this actor had, and this one has not."""
        from ...actor.delivery.client import Among

        for name in sorted(names):
            with contextlib.ExitStack() as stack:
                client = self._opened(stack, name, Among(1, self.open_ones[0]))
                log.info("%d rows of %s, which is not used any more, are sent", client.statistics()["held"], name)

    def stop(self) -> None:
        """Makes the loops end."""
        for client in self.open_ones:
            client.stop()

    def close(self) -> None:
        """Flushes and closes the clients, then their spools. Raises WarmloopError as they do."""
        self._stack.close()

    def _opened(self, stack: contextlib.ExitStack, name: str, among: Among) -> Client:
        from ...actor.delivery.client import Client
        from ...actor.delivery.sender import Introduction
        from ...actor.delivery.spool import Spool
        from ...data.wire.warmloop_pb2_grpc import LearnerStub

        limits = self._config.spool_rows, self._config.spool_mebibytes << 20
        spool = stack.enter_context(Spool(self._spools / name, self._schema, *limits))
        stub = self._channel if not self.open_ones else LearnerStub(self._channel)  # the first client closes the channel, as the last one
        introduction = Introduction(self._schema, self._agent, name)
        client = Client(stub, introduction, self._config, rows=spool.rows, among=among)
        stack.callback(client.close)
        return client

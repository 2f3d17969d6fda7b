"""The flag that names one of a run's policies: a checkpoint's by its number of updates, the best one so far, or the newest one."""

from __future__ import annotations

from typing import Any

from absl import flags

flags.disclaim_key_flags()  # a command's --help lists it among its own


class Step(flags.ArgumentParser):
    """A number of updates, "best" or "last"."""

    syntactic_help = 'a number of updates, "best" or "last"'

    def parse(self, argument: Any) -> int | str:
        if argument in ("best", "last") or (isinstance(argument, int) and argument >= 0):
            return argument
        if not str(argument).isdecimal():
            raise ValueError('write a number of updates, "best" or "last"')
        return int(argument)


def define_step(name: str, help: str) -> flags.FlagHolder[int | str | None]:
    """Defines the flag `name`, whose default is None."""
    return flags.DEFINE(Step(), name, None, help, serializer=flags.ArgumentSerializer())

"""`warmloop` lists the commands; `warmloop VERB …` runs one. `python -m warmloop` is the same."""

import ast
import contextlib
import runpy
import sys
from pathlib import Path

from .data.settings.near_names import did_you_mean
from .launch.starting.commands import COMMANDS, VERBS

LAUNCH = Path(__file__).parent / "launch"


def listing() -> str:
    """A line for each command: its verb, the name under which it is installed by itself, and the first sentence of its help."""
    verbs, names = (max(map(len, column)) for column in (VERBS, COMMANDS))
    lines = [f"  {verb:<{verbs}}  {name:<{names}}  {first_line(COMMANDS[name])}" for verb, name in VERBS.items()]
    return "\n".join(["warmloop VERB … (VERB --help says more); each is also installed by the name beside it:", "", *lines])


def first_line(module: str) -> str:
    """What a command's help begins with, read without importing it."""
    said = ast.get_docstring(ast.parse((LAUNCH / f"{module}.py").read_text()))
    return (said or "").partition("\n")[0]


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h", "help"):
        print(listing())
        return
    known = {module: module for module in COMMANDS.values()} | COMMANDS | {verb: COMMANDS[name] for verb, name in VERBS.items()}
    if name not in known:
        hint = did_you_mean(name, known, one=True, otherwise="; `warmloop` lists the commands.")
        print(f'error: there is no command "{name}"{hint}', file=sys.stderr)
        sys.exit(2)
    del sys.argv[1]
    runpy.run_module(f"warmloop.launch.{known[name]}", run_name="__main__", alter_sys=True)


def cli() -> None:
    """The console script `warmloop`."""
    with contextlib.suppress(BrokenPipeError):  # whoever reads our output has enough of it, as in `| head`
        main()


if __name__ == "__main__":
    cli()

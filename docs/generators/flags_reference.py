"""The page of every command: what its `--help` says, and a table of its flags, both from the flags themselves."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import json
import multiprocessing
import re
import subprocess
import sys

from warmloop.launch.starting.commands import COMMANDS, VERBS


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag, as a user writes it; `boolean` ones may be written `--noNAME`."""

    name: str
    default: str
    meaning: str
    boolean: bool


def flags_of(module: str) -> tuple[str, list[Flag]]:
    """A command's docstring and its flags. Commands share names of flags, so each needs a process of its own."""
    from absl import flags

    command = importlib.import_module(f"warmloop.launch.{module}")
    found = sorted(flags.FLAGS.get_key_flags_for_module(command), key=lambda flag: flag.name)
    described = [Flag(flag.name, _default(flag), _meaning(flag), bool(flag.boolean)) for flag in found]
    return inspect.getdoc(command) or "", described


@functools.cache
def commands() -> dict[str, tuple[str, list[Flag]]]:
    """Every command by its installed name, in the order of `warmloop`'s list: its docstring and its flags."""
    done = subprocess.run([sys.executable, __file__], stdout=subprocess.PIPE, text=True, check=True)
    found = {name: (docstring, [Flag(**flag) for flag in flags]) for name, (docstring, flags) in json.loads(done.stdout).items()}
    return {name: found[name] for name in VERBS.values()}


def write() -> None:
    """Writes them to stdout as JSON. What takes long to import is imported once, and each command in a process forked from there."""
    importlib.import_module("warmloop.configs.schema")
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        found = dict(zip(COMMANDS, pool.map(flags_of, COMMANDS.values(), chunksize=1), strict=True))
    print(json.dumps({name: (docstring, [dataclasses.asdict(flag) for flag in flags]) for name, (docstring, flags) in found.items()}))


def page() -> str:
    """The page's sections."""
    verbs = {name: verb for verb, name in VERBS.items()}
    lines: list[str] = []
    for name, (docstring, flags) in commands().items():
        lines += [f"## {name}", "", f"Also `warmloop {verbs[name]}` and `python -m warmloop.launch.{COMMANDS[name]}`.", ""]
        lines += ["```text", docstring, "```", "", "| Flag | Default | Meaning |", "|---|---|---|"]
        lines += [f"| `--{'[no]' if flag.boolean else ''}{flag.name}` | {flag.default} | {flag.meaning} |" for flag in flags]
        lines.append("")
    return "\n".join(lines)


def _default(flag) -> str:
    return "" if flag.default in (None, "", []) else f"`{str(flag.default_as_str).strip(chr(39))}`"


def _meaning(flag) -> str:
    """Its help in one line, without what absl adds of repeating it."""
    text = re.sub(r";\s+repeat this option.*", "", flag.help, flags=re.DOTALL)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    write()

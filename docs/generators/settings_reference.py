"""The page of every setting: default and meaning from the configuration's dataclasses, range from what they refuse."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from warmloop.agents import AGENTS
from warmloop.agents.shared.agent_settings import Meaning
from warmloop.agents.shared.agent_settings import meanings as said_of
from warmloop.configs.schema import AgentChoice, RunConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.sources.sources import SourceConfig

NEEDED: dict[str, dict[str, Any]] = {"EnvironmentConfig": {"id": "Pendulum-v1"}, "SourceConfig": {"path": "demos.npz"}}
INTEGERS, NUMBERS, TEXTS = tuple[int, ...], tuple[float, ...], tuple[str, ...]
PROBES: dict[Any, tuple] = {
    int: (-(10**9), 10**9),
    float: (-1e12, 1e12, float("nan")),
    str: ("no such thing",),
    INTEGERS: ((-(10**9),),),
}
UNCHECKED: dict[Any, str] = {
    int: "any whole number",
    float: "any number",
    bool: "`True`, `False`",
    str: "text",
    INTEGERS: "whole numbers",
    NUMBERS: "numbers",
    TEXTS: "texts",
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of the page; `name` is with the section, as in `learner.port`."""

    name: str
    default: str
    range: str
    meaning: str


def sections() -> dict[str, type]:
    """The sections of a configuration that are the same for every algorithm, by name."""
    types = typing.get_type_hints(RunConfig)
    return {field.name: types[field.name] for field in dataclasses.fields(RunConfig) if types[field.name] is not AgentChoice}


def agent_classes() -> dict[type, list[str]]:
    """The classes that hold agents' settings, bases first, and the algorithms that have each one's."""
    found: dict[type, list[str]] = {}
    for name, (_, config) in AGENTS.items():
        for cls in reversed([one for one in config.__mro__ if dataclasses.is_dataclass(one)]):
            found.setdefault(cls, []).append(name)
    return found


def settings(cls: type, prefix: str, names: set[str] | None = None) -> Iterator[Setting]:
    """The settings of a class, of those `names` only, and of the sections within it."""
    types, example = typing.get_type_hints(cls), cls(**NEEDED.get(cls.__name__, {}))
    meanings = meanings_of(cls)
    for field in dataclasses.fields(cls):
        if names is not None and field.name not in names:
            continue
        if dataclasses.is_dataclass(types[field.name]):
            yield from settings(types[field.name], f"{prefix}.{field.name}")
            continue
        default = "" if field.name in NEEDED.get(cls.__name__, {}) else f"`{getattr(example, field.name)!r}`"
        yield Setting(f"{prefix}.{field.name}", default, range_of(example, field.name, types[field.name]), meanings[field.name])


def meanings_of(cls: type) -> dict[str, str]:
    """What each field means: what `setting` says of it, else its entry under `Attributes:` in the docstring, or the comment at the end of
    its line; bases' too."""
    meanings: dict[str, str] = {}
    for base in reversed([one for one in cls.__mro__ if dataclasses.is_dataclass(one)]):
        for line in inspect.getsource(base).splitlines():
            if commented := re.match(r"    (\w+): .*?  # (.+)$", line):
                meanings[commented[1]] = commented[2]
        _, _, attributes = (inspect.getdoc(base) or "").partition("Attributes:\n")
        for entry in re.split(r"\n(?! )", textwrap.dedent(attributes)):
            names, _, text = " ".join(entry.split()).partition(": ")
            meanings |= dict.fromkeys(names.split(", "), text)
    return meanings | {name: said.text for name, said in said_of(cls).items()}


def range_of(example: Any, name: str, kind: Any) -> str:
    """What the class says of values that it refuses, else the type."""
    if bounds := said_of(type(example)).get(name, Meaning("", None)).range:
        return re.sub("^(be|lie) ", "", str(bounds)).replace('"', "`")
    said = dict.fromkeys(filter(None, (refusal(example, name, probe) for probe in PROBES.get(kind, ()))))
    return "; ".join(said) or UNCHECKED.get(kind, "a tuple")


def refusal(example: Any, name: str, value: Any) -> str:
    """What must hold, by the error for a value out of range; "" where it is taken."""
    try:
        dataclasses.replace(example, **{name: value})
    except WarmloopError as error:
        asked = re.search(r"(?:;| must) (.+)\.$", re.sub(r" \([^()]*\)", "", str(error)))  # no other setting's value
        return re.sub(r"^(?:it |they |kinds |each width )?(?:must |needs to )?(?:be |lie |is |are |lists )?", "", asked[1]) if asked else ""
    return ""


def table(rows: list[Setting]) -> list[str]:
    """Rows in Markdown."""
    cells = (f"| `{row.name}` | {row.default} | {_cell(row.range)} | {_cell(row.meaning)} |" for row in rows)
    return ["| Setting | Default | Range | Meaning |", "|---|---|---|---|", *cells, ""]


def page() -> str:
    """The page's sections."""
    lines: list[str] = []
    for name, cls in sections().items():
        lines += [f"## `{name}`", "", _first_sentence(cls), "", *table(list(settings(cls, name)))]
        if name == "data":
            lines += ["### One of `data.sources`", "", *table(list(settings(SourceConfig, "SourceConfig")))]
    lines += ["## `agent` and `warmup_agent`", "", f"`agent.name` is one of {', '.join(f'`{name}`' for name in AGENTS)}. Each has:", ""]
    for cls, algorithms in agent_classes().items():
        own = set(vars(cls).get("__annotations__", {}))
        bases = [base.__name__ for base in cls.__mro__[1:] if dataclasses.is_dataclass(base)]
        of = ", ".join(f"`{name}`" for name in algorithms)
        above = f" Beside these: what {bases[0]} has, in another table; a default named here is this one's." if bases else ""
        lines += [f"### {cls.__name__}", "", f"Of {of}.{above}", "", *table(list(settings(cls, "agent", own)))]
    return "\n".join(lines)


def all_names() -> set[str]:
    """Every setting as a flag names it, `agent.utd` for `--config.agent.utd`; the sections too."""
    plain = {setting.name for name, cls in sections().items() for setting in settings(cls, name)}
    agents = {setting.name for _, config in AGENTS.values() for setting in settings(config, "agent")} | {"agent.name"}
    both = plain | agents | {f"warmup_{name}" for name in agents}
    return both | {part for name in both for part in (name.rpartition(".")[0], name.partition(".")[0])}


def _first_sentence(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

"""How often a compiled program talks between its devices, from its text in HLO."""

import math
import re
from collections import Counter
from typing import Any

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
WIDTHS = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
COLLECTIVE = re.compile(rf" = (.*?) ({'|'.join(COLLECTIVES)})(?:-start)?\(")
LOOP = re.compile(r"\bwhile\(.*body=%?([\w.\-]+)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
CALLED = re.compile(r"\b(?:to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)")
BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")


def collectives(text: str) -> dict[str, Any]:
    """Of a compiled module: its collectives in the text, how often they run in one execution, by kind, and the bytes of their results.

    A loop's body counts as often as XLA knows that it runs, and every branch as if it were taken. Raises ValueError where a loop with a
    collective has no such number.
    """
    lines, entry = computations(text)
    written, runs, moved = Counter[str](), Counter[str](), 0

    def walk(name: str, times: int | None) -> None:
        nonlocal moved
        for line in lines.get(name, ()):
            if found := COLLECTIVE.search(line):
                if times is None:
                    raise ValueError(f"How often the loop around this collective runs is not known: {line.strip()[:200]}")
                written[found[2]] += 1
                runs[found[2]] += times
                moved += times * result_bytes(found[1])
            elif loop := LOOP.search(line):
                trips = TRIPS.search(line)
                walk(loop[1], times * int(trips[1]) if trips and times is not None else None)
            else:
                for called in CALLED.findall(line) + [name.strip(" %") for some in BRANCHES.findall(line) for name in some.split(",")]:
                    walk(called, times)

    walk(entry, 1)
    return {"written": dict(written), "run": dict(runs), "bytes": moved}


def result_bytes(shape: str) -> int:
    """Bytes of a result as HLO writes it, such as `(f32[10,256]{1,0}, f32[])`."""
    found = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shape)
    return sum(WIDTHS[kind] * math.prod(int(size) for size in sizes.split(",") if size) for kind, sizes in found)


def computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation by its name, and the name of the one that begins."""
    found, name, entry = dict[str, list[str]](), "", ""
    for line in text.splitlines():
        if begun := COMPUTATION.match(line):
            name = begun[1]
            found[name] = []
            entry = name if line.startswith("ENTRY") else entry
        elif name:
            found[name].append(line)
    return found, entry

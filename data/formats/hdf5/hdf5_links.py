"""What is behind a name in an HDF5 file, with every link followed to its end by our own hand and only inside the file.

HDF5 follows a soft link through an external one without a word, and opens whatever that names, a pipe or a device as well. Here a soft
link is walked name by name, an external one is refused wherever it is met, and a group that is met twice on one walk, as in a cycle of
hard links, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...errors import WarmloopError

if TYPE_CHECKING:
    import h5py

HOPS = 16  # soft links on the way to one object
DEPTH = 32  # groups within groups


def names(parent: h5py.Group) -> list[str]:
    """The names of a group's links; nothing is opened."""
    return [name.decode(errors="replace") for name in parent.id]  # pyright: ignore[reportOptionalIterable, reportGeneralTypeIssues]


def follow(place: str, parent: h5py.h5g.GroupID, path: str) -> h5py.h5d.DatasetID | h5py.h5g.GroupID | None:
    """The array or group at `path`; None where there is no link of that name.

    Raises:
        WarmloopError: a link on the way leads to another file, to nothing, or in a circle.
    """
    return _walk(place, path, parent, path.encode(), [HOPS])


def datasets(place: str, path: str, parent: h5py.h5g.GroupID) -> Iterator[tuple[str, h5py.h5d.DatasetID]]:
    """The arrays at and below the name that `path` ends with, each with its path. Raises as `follow`, and for a group met twice."""
    yield from _below(place, path, follow(place, parent, path.rpartition("/")[2]), set())


def _below(place: str, path: str, node: object, met: set[int]) -> Iterator[tuple[str, h5py.h5d.DatasetID]]:
    import h5py

    if isinstance(node, h5py.h5d.DatasetID):
        yield path, node
    elif isinstance(node, h5py.h5g.GroupID):
        address = h5py.h5o.get_info(node).addr  # pyright: ignore[reportAttributeAccessIssue]
        if address in met or path.count("/") > DEPTH:
            raise WarmloopError(
                f"{place}: `{path}` leads back to a group that was read before, or groups lie too deep; copy the arrays out of it."
            )
        met.add(address)
        for child in node:  # pyright: ignore[reportGeneralTypeIssues]
            below = f"{path}/{child.decode(errors='replace')}"
            yield from _below(place, below, _walk(place, below, node, child, [HOPS]), met)


def _walk(place: str, shown: str, parent: h5py.h5g.GroupID, path: bytes, hops: list[int]) -> h5py.h5d.DatasetID | h5py.h5g.GroupID | None:
    """The object at a path; `hops` holds how many soft links may still be followed."""
    import h5py

    node: Any = h5py.h5g.open(h5py.h5i.get_file_id(parent), b"/") if path.startswith(b"/") else parent  # pyright: ignore[reportAttributeAccessIssue]
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        if not isinstance(node, h5py.h5g.GroupID):
            return None
        node = _step(place, shown, node, part, hops)
    return node


def _step(place: str, shown: str, group: h5py.h5g.GroupID, name: bytes, hops: list[int]) -> Any:
    import h5py

    if not group.links.exists(name):
        return None
    kind = group.links.get_info(name).type
    if kind == h5py.h5l.TYPE_HARD:  # pyright: ignore[reportAttributeAccessIssue]
        return h5py.h5o.open(group, name)  # pyright: ignore[reportAttributeAccessIssue]
    if kind != h5py.h5l.TYPE_SOFT:  # pyright: ignore[reportAttributeAccessIssue]
        file = group.links.get_val(name)[0].decode(errors="replace") if kind == h5py.h5l.TYPE_EXTERNAL else "something unknown"  # pyright: ignore[reportAttributeAccessIssue]
        raise WarmloopError(f"{place}: `{shown}` is a link to {file}, which is not followed; copy what it links to into the file.")
    hops[0] -= 1
    found = _walk(place, shown, group, group.links.get_val(name), hops) if hops[0] >= 0 else None
    if found is None:
        raise WarmloopError(f"{place}: `{shown}` is a link to nothing, and no array.")
    return found

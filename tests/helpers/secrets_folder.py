"""Folders of credentials for tests, made by what `launch.credentials` uses."""

from pathlib import Path

from warmloop.launch.parts.certificates import Authority, make_actor, make_learner


def make_credentials(
    folder: Path, *actors: str, hosts: tuple[str, ...] = ("trainer.lab",), days: int = 2, mutual_tls: bool = False
) -> Path:
    """`folder` with the learner's part, and one for each actor. With negative `days`, the certificates have expired."""
    authority = Authority(folder / "authority")
    make_learner(folder / "learner", authority, hosts, days, mutual_tls)
    for actor in actors:
        make_actor(folder / actor, folder / "learner", authority, days)
    return folder

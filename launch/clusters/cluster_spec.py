"""What a cluster runs, read from a TOML file: one learner, and actors, evaluators and collectors, with what each needs of its node.

exp_name = "door"
flags = ["--config=configs/adroit.py:door"]     # of the learner and every actor

[learner]
flags = ["--checkpoint_path=warmup_ckpt"]

[[actors]]
name = "left"
needs = ["robot:left"]                          # its node was started with --resources='{"robot:left": 1}'
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...data.errors import WarmloopError
from ...data.files.names import check_name, is_identifier
from ...data.files.run_folder import RunFolder
from ...data.files.whole_files import require_file
from ...data.settings.typed_values import decoded
from ...data.wire.address import is_loopback

OWN = ("exp_name", "runs", "learner", "actor", "actor_id", "ip", "port", "credentials", "resume")  # flags that follow from the file
MODULES = {"learner": "train_rlpd", "actor": "train_rlpd", "evaluator": "evaluate", "collector": "collect"}
LEARNER = "learner"


@dataclasses.dataclass(frozen=True)
class LearnerPlace:
    """The learner and its node.

    Attributes:
        flags: of `train_rlpd`, beside those of the file.
        needs: resources that its node declares, one of each.
        cpus: and gpus, which Ray gives to nothing else meanwhile.
        host: by which actors reach it; one that is no loopback address needs credentials.
        folder: where it is started. Default: as `warmloop cluster start`.
    """

    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    cpus: float = 1.0
    gpus: float = 0.0
    host: str = "127.0.0.1"
    port: int = 5488
    folder: str | None = None


@dataclasses.dataclass(frozen=True)
class WorkerPlace:
    """An actor, evaluator or collector and its node.

    Attributes:
        simulator: it may start by itself. Otherwise it is a robot's, and a person allows every start.
        count: processes of this kind, NAME-0, NAME-1, …; of simulators alone.
        every_minutes: it runs again so long after its end; 0: once.
    """

    name: str
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    simulator: bool = False
    count: int = 1
    every_minutes: float = 0.0
    cpus: float = 1.0
    gpus: float = 0.0
    folder: str | None = None


@dataclasses.dataclass(frozen=True)
class Part:
    """One process of the cluster.

    Attributes:
        arguments: of its command, without secrets.
        asks: a person allows every start.
        secrets: its folder below the credentials; None where there are none.
        folder: where it is started; None: as `warmloop cluster start`.
    """

    name: str
    kind: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    cpus: float = 1.0
    gpus: float = 0.0
    folder: str | None = None
    asks: bool = False
    secrets: str | None = None
    every_minutes: float = 0.0

    @property
    def module(self) -> str:
        """The module of its command."""
        return MODULES[self.kind]


@dataclasses.dataclass(frozen=True)
class ClusterSpec:
    """The file.

    Attributes:
        flags: of the learner and every actor.
        runs: folder that holds the runs, on each node.
        credentials: what `warmloop-credentials` made, on the machine where the cluster is started.
        secrets_in_clear: they may go to other machines though Ray's links are not encrypted.
    """

    exp_name: str
    learner: LearnerPlace = LearnerPlace()
    actors: tuple[WorkerPlace, ...] = ()
    evaluators: tuple[WorkerPlace, ...] = ()
    collectors: tuple[WorkerPlace, ...] = ()
    flags: tuple[str, ...] = ()
    runs: str = "runs"
    credentials: str | None = None
    secrets_in_clear: bool = False

    def run_folder(self, folder: Path) -> RunFolder:
        """The run's files, as seen from where a process is started."""
        return RunFolder(folder / self.runs / self.exp_name)

    def parts(self) -> list[Part]:
        """Every process, the learner first."""
        return [self._learner(), *self._actors(), *self._others("evaluator", self.evaluators), *self._others("collector", self.collectors)]

    def _run(self) -> tuple[str, ...]:
        return (f"--exp_name={self.exp_name}", f"--runs={self.runs}", *self.flags)

    def _learner(self) -> Part:
        own, reached = self.learner, () if is_loopback(self.learner.host) else ("--ip=0.0.0.0",)
        arguments = (*self._run(), *own.flags, "--learner", f"--port={own.port}", *reached)
        secrets = LEARNER if self.credentials else None
        return Part(LEARNER, LEARNER, arguments, own.needs, own.cpus, own.gpus, own.folder, secrets=secrets)

    def _actors(self) -> Iterator[Part]:
        link = ("--actor", f"--ip={self.learner.host}", f"--port={self.learner.port}")
        for number, (name, place) in enumerate(_counted(self.actors)):
            arguments = (*self._run(), *place.flags, *link, f"--actor_id={number}")
            yield _part(name, "actor", arguments, place, f"actor-{number}" if self.credentials else None)

    def _others(self, kind: str, places: Sequence[WorkerPlace]) -> Iterator[Part]:
        for name, place in _counted(places):
            yield _part(name, kind, place.flags, place, None)


def read_spec(path: str | Path) -> ClusterSpec:
    """Reads and checks a file. Raises WarmloopError with what is wrong in it."""
    path = Path(path).expanduser()
    require_file(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WarmloopError(f"{path} is no TOML: {error}.") from error
    spec = decoded(ClusterSpec, values, path.name)
    check_name(spec.exp_name, f"the run in {path}", 'exp_name = "door"')
    _check_workers(path, spec)
    _check_flags(path, spec)
    if not is_loopback(spec.learner.host) and not spec.credentials:
        raise WarmloopError(
            f"{path}: learner.host is {spec.learner.host}, where others reach the learner, and there are no credentials. Make them with "
            f'`warmloop-credentials --out=credentials --host={spec.learner.host}`, and set credentials = "credentials".'
        )
    return spec


def _counted(places: Sequence[WorkerPlace]) -> Iterator[tuple[str, WorkerPlace]]:
    for place in places:
        for number in range(place.count):
            yield (place.name if place.count == 1 else f"{place.name}-{number}"), place


def _part(name: str, kind: str, arguments: Sequence[str], place: WorkerPlace, secrets: str | None) -> Part:
    asked, again = not place.simulator, place.every_minutes
    return Part(name, kind, tuple(arguments), place.needs, place.cpus, place.gpus, place.folder, asked, secrets, again)


def _check_workers(path: Path, spec: ClusterSpec) -> None:
    seen = {LEARNER}
    for place in (*spec.actors, *spec.evaluators, *spec.collectors):
        if not is_identifier(place.name):
            raise WarmloopError(f'{path}: "{place.name}" is no name of a process; use letters, digits, "_", "-" and ".".')
        if place.count < 1 or place.every_minutes < 0:
            raise WarmloopError(f"{path}: {place.name} has count {place.count} and every_minutes {place.every_minutes}; at least 1 and 0.")
        if not place.simulator and not place.needs:
            raise WarmloopError(
                f'{path}: {place.name} moves a robot, so name what its node declares, as in needs = ["robot:{place.name}"]; or set '
                "simulator = true."
            )
        if not place.simulator and place.count > 1:
            raise WarmloopError(f"{path}: {place.name} moves a robot, and {place.count} processes cannot; use count = 1.")
    for part in spec.parts()[1:]:
        if part.name in seen:
            raise WarmloopError(f'{path}: two processes are called "{part.name}"; give each a name of its own.')
        seen.add(part.name)
    for place in spec.actors:
        if place.every_minutes:
            raise WarmloopError(f"{path}: {place.name} is an actor, which acts until the learner ends; leave every_minutes out.")


def _check_flags(path: Path, spec: ClusterSpec) -> None:
    for given in (spec.flags, spec.learner.flags, *(place.flags for place in spec.actors)):
        for flag in given:
            name = flag.lstrip("-").partition("=")[0]
            if not flag.startswith("-"):
                raise WarmloopError(f'{path}: "{flag}" is no flag; write each as one text, "--name=value".')
            if name.removeprefix("no") in OWN or name in OWN:
                raise WarmloopError(f"{path}: --{name} follows from the rest of the file; leave it out of the flags.")

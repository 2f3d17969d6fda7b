"""The crew within Ray: a named actor that outlives the command which started it, and hosts on the nodes.

Ray is imported where it is used, so that nothing else of the package needs it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from ...data.errors import WarmloopError
from .attendant import HostLostError
from .cluster_spec import ClusterSpec, Part
from .crew import Crew, last_state
from .joining import ANSWER_SECONDS, NAMESPACE, ray_package, short
from .node_host import Look, NodeHost, Order

ENCRYPTED = "RAY_USE_TLS"  # Ray's own setting


def find(ray: Any, spec: ClusterSpec) -> Any:
    """The supervisor of the run; None where there is none."""
    try:
        return ray.get_actor(spec.exp_name, namespace=NAMESPACE)
    except ValueError:
        return None


def begin(ray: Any, spec: ClusterSpec, folder: Path, resume: bool) -> Any:
    """Starts a supervisor on this node. Ray starts it again if it dies; then its processes have ended, and start again by their rules."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"name": spec.exp_name, "namespace": NAMESPACE, "lifetime": "detached", "num_cpus": 0, "max_restarts": -1}
    return ray.remote(Supervisor).options(scheduling_strategy=here, **options).remote(spec, str(folder), resume)


class Supervisor:
    """What the named actor answers. Credentials are no argument of its: it reads them where it is, and gives them to hosts."""

    def __init__(self, spec: ClusterSpec, folder: str, resume: bool):
        ray = ray_package()
        again = ray.get_runtime_context().was_current_actor_reconstructed
        before = last_state(spec, Path(folder)) if again else None
        self.here = ray.util.get_node_ip_address()
        encrypted = os.environ.get(ENCRYPTED, "0") == "1"
        self.crew = Crew(spec, Path(folder), self._place, encrypted, resume or again)
        if before and (before["told"] or before["finished"]):  # it was to end, and its processes have
            self.crew.finished = True
        else:
            self.crew.start()

    def state(self) -> dict[str, Any]:
        """See `Crew.state`."""
        return self.crew.state()

    def events(self, since: int) -> list[str]:
        """See `Crew.events`."""
        return self.crew.events(since)

    def allow(self, name: str) -> tuple[bool, str]:
        """See `Crew.allow`; whether it was possible, and what to say."""
        try:
            return True, self.crew.allow(name)
        except WarmloopError as error:
            return False, str(error)

    def stop(self, at_once: bool = False) -> None:
        """See `Crew.stop`."""
        self.crew.stop(at_once)

    def _place(self, part: Part, told: threading.Event) -> RayHost | None:
        return place(part, told, self.here)


class RayHost:
    """A `NodeHost` in a Ray worker."""

    def __init__(self, actor: Any, node: str, elsewhere: bool):
        self.actor, self.node, self.elsewhere = actor, node, elsewhere

    def start(self, order: Order) -> None:
        """Starts the command. The order, with its secrets, goes from worker to worker, and into no store of Ray's."""
        self._call(self.actor.start, order)

    def look(self) -> Look:
        """What is new; nothing where the node does not answer at the moment."""
        return self._call(self.actor.look) or Look("", None, None)

    def stop(self, at_once: bool = False) -> None:
        """Asks the command to end."""
        self._call(self.actor.stop, at_once)

    def close(self) -> None:
        """Gives the place back. A command that still runs is ended in order by its keeper."""
        ray_package().kill(self.actor)

    def _call(self, method: Any, *arguments: Any) -> Any:
        ray = ray_package()
        try:
            return ray.get(method.remote(*arguments), timeout=ANSWER_SECONDS)
        except ray.exceptions.GetTimeoutError:
            return None
        except ray.exceptions.RayActorError as error:
            raise HostLostError(short(error)) from error
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, WarmloopError):
                raise WarmloopError(str(error.cause)) from None
            raise


def place(part: Part, told: threading.Event, here: str) -> RayHost | None:
    """A host on a node that has all that the part needs, which nobody else gets meanwhile; None once `told` is set."""
    ray = ray_package()
    options = {"num_cpus": part.cpus, "num_gpus": part.gpus, "resources": dict.fromkeys(part.needs, 1.0)}
    actor = ray.remote(NodeHost).options(max_restarts=0, max_task_retries=0, **options).remote()
    where = actor.where.remote()
    try:
        while not told.is_set():
            if ray.wait([where], timeout=0.5)[0]:
                node, address = ray.get(where)
                return RayHost(actor, f"{address} {node[:8]}", address != here)
    except ray.exceptions.RayActorError as error:
        raise HostLostError(short(error)) from error
    ray.kill(actor)
    return None

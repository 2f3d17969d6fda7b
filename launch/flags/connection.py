"""Where actor and learner meet, and how they know each other: the flags, and what each side makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from ...data.wire.address import join

if TYPE_CHECKING:
    import grpc

    from ...data.wire.keyring import LearnerCredentials

IP = flags.DEFINE_string(
    "ip", "127.0.0.1", "For --actor: the learner's host. For a learner: the address to listen on; 0.0.0.0 listens on all addresses."
)
PORT = flags.DEFINE_integer(
    "port", None, "Port of the learner; 0 takes any free port. Default: the configuration's learner.port.", lower_bound=0
)
ACTOR_ID = flags.DEFINE_integer("actor_id", 0, "Number of this actor, from 0; only actor 0 evaluates.", lower_bound=0)
CREDENTIALS = flags.DEFINE_string(
    "credentials", None, "Folder of certificates and tokens, needed between machines; `warmloop credentials` makes it."
)


def actor_name() -> str:
    """What this actor is called."""
    return f"actor-{ACTOR_ID.value}"


def learner_credentials() -> LearnerCredentials | None:
    """What --credentials names. Raises WarmloopError where it is damaged, or absent and needed for --ip."""
    from ...data.wire.keyring import LearnerCredentials
    from ...learner.receiving.security import check_address

    check_address(IP.value, secured=bool(CREDENTIALS.value))
    return LearnerCredentials.read(CREDENTIALS.value) if CREDENTIALS.value else None


def actor_channel(port: int) -> grpc.Channel:
    """A channel to the learner. Raises WarmloopError as `learner_credentials` does."""
    from ...actor.delivery.channel import open_channel
    from ...data.wire.keyring import ActorCredentials

    secrets = ActorCredentials.read(CREDENTIALS.value, actor_name()) if CREDENTIALS.value else None
    return open_channel(join(IP.value, port), secrets)

"""Whether the operator's page is served beside a run, and where."""

from __future__ import annotations

from absl import flags

from ...data.errors import WarmloopError
from ...data.wire.address import is_loopback
from . import connection

PAGE = flags.DEFINE_bool("page", False, "Serve the operator's page beside the run, as `warmloop page RUN` does; see docs/howto/page.md.")
PAGE_PORT = flags.DEFINE_integer("page_port", 8484, "Port of the operator's page; with 0 it takes any free one.", lower_bound=0)
PAGE_IP = flags.DEFINE_string(
    "page_ip", "127.0.0.1", "Address that the operator's page listens on. Others than loopback need --credentials; 0.0.0.0 is all of them."
)


def check(acting_alone: bool = False) -> None:
    """Raises WarmloopError where --page is given to a process that serves none, or the page could not be served."""
    if not PAGE.value:
        return
    if acting_alone:
        raise WarmloopError("--page is the learner's; beside an actor alone, run `warmloop page RUNS/EXP_NAME` on its machine.")
    from ...data.wire.keyring import LearnerCredentials
    from ..operating.access import Access
    from ..operating.page_extra import require_page_extra

    require_page_extra()
    secrets = credentials_here()
    Access(PAGE_IP.value, LearnerCredentials.read(secrets) if secrets else None)


def credentials_here() -> str | None:
    """The folder of credentials that the page of a run needs: none on loopback, where a run's own are for its actors."""
    return None if is_loopback(PAGE_IP.value) else connection.CREDENTIALS.value

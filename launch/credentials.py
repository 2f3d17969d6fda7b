"""Makes the certificates and tokens with which a learner serves actors on other machines.

    warmloop credentials --out=credentials --host=LEARNER_HOST --actors=2

writes credentials/learner for the learner's machine and credentials/actor-0, actor-1 for the robots' (copy each to its machine),
and credentials/authority, which signs them and is needed nowhere else. Run again with the same --out, the command adds actors. With
--host it renews the learner's certificate. The files of an actor stay as they are.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

from pathlib import Path

from absl import flags

from ..data.errors import WarmloopError
from ..data.wire.keyring import AUTHORITY, CERTIFICATE, CLIENTS, LEARNER, PAGE, TOKEN, TOKENS
from .flags.common import run

OUT = flags.DEFINE_string("out", None, "Folder to write, which gets a folder for each machine.")
HOST = flags.DEFINE_list("host", [], "Names and IP addresses by which actors reach the learner, separated by commas.")
ACTORS = flags.DEFINE_list(
    "actors", ["1"], "How many actors (named actor-0, actor-1, ... as train_rlpd does), or their names; page is the operator's page."
)
MUTUAL_TLS = flags.DEFINE_bool("mutual_tls", False, "Make the learner ask each actor for a certificate, beside its token.")
DAYS = flags.DEFINE_integer("days", 730, "Number of days for which the certificates are valid.", lower_bound=1)


def main() -> None:
    from .parts.certificates import Authority, actor_names, make_actor, make_learner

    if not OUT.value:
        raise WarmloopError("Say where to write, as in --out=credentials.")
    out, names = Path(OUT.value).expanduser(), actor_names(ACTORS.value)
    learner = out / LEARNER
    if not HOST.value and not (learner / CERTIFICATE).exists():
        raise WarmloopError("Name the learner's machine as the actors will, as in --host=trainer.lab,192.168.0.7.")
    authority = Authority(out / AUTHORITY)
    if HOST.value:
        make_learner(learner, authority, HOST.value, DAYS.value, MUTUAL_TLS.value or (learner / CLIENTS).exists())
    elif MUTUAL_TLS.value and not (learner / CLIENTS).exists():
        raise WarmloopError("To turn --mutual_tls on, give --host too: the learner's part is made anew.")
    new = [name for name in names if make_actor(out / name, learner, authority, DAYS.value)]
    print(f"{learner}: for the learner's machine; start it with --credentials={learner}")
    for name in names:
        if name == PAGE:
            print(f"{out / name / TOKEN}: opens the operator's page, which is served with --credentials={learner}")
            continue
        print(f"{out / name}: for that actor's machine; start it with --credentials={out / name}{'' if name in new else ' (as it was)'}")
    print(f"{out / AUTHORITY}: keep it here, and from others; {learner / TOKENS} says who may connect, read when the learner starts")


def cli() -> None:
    """The console script `warmloop-credentials`."""
    run(main)


if __name__ == "__main__":
    cli()

"""What every command shares: flags and their errors, `--help`, exit codes, quiet logs and progress.

Nothing heavy is imported here, so that `--help` and a mistyped flag are answered at once.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags
from absl import logging as absl_logging

from ...data.doors.imports import make_importable
from ...data.errors import WarmloopError
from ...data.files.whole_files import check_path
from ..starting.compiled import keep_compiled
from ..starting.leftover import end_in_time
from ..starting.signals import leave, unwinding
from .progress import progress as progress

USAGE_ERROR = 2
log = logging.getLogger("warmloop")


def run(
    main: Callable[..., int | None],
    argv: Sequence[str] | None = None,
    prepare: Callable[[list[str]], list[str]] = lambda argv: argv,
    files: bool = False,
) -> NoReturn:
    """Parses the flags, runs `main()` and ends the process. `prepare` may rewrite the arguments first; with `files`, arguments that
    are not flags are main's.

    A WarmloopError and a mistake in the flags become one sentence on stderr and exit code 2 (or the error's own), a signal the exit code
    128 + its number. `--help` shows the docstring of main's module and the flags defined there (or declared as key flags).
    """
    _quieten()
    _print_anything()
    keep_compiled()
    make_importable(os.getcwd())
    try:
        _run(main, argv, prepare, files)
    except SystemExit as error:
        end_in_time(error.code if isinstance(error.code, int) else int(error.code is not None))
        raise
    except BaseException:
        end_in_time(1)
        raise
    sys.exit(0)


def _run(main: Callable[..., int | None], argv: Sequence[str] | None, prepare: Callable[[list[str]], list[str]], files: bool) -> None:
    app.run(lambda argv: _guarded(main, argv, files), argv=list(argv or sys.argv), flags_parser=lambda argv: _parse(main, argv, prepare))


def fail(message: str, exit_code: int = USAGE_ERROR) -> NoReturn:
    """Ends the process with one sentence on stderr and an exit code."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(exit_code)


def output_path(out: str | None, overwrite: bool) -> Path:
    """The file or folder that --out names, found writable before any time is spent on what goes into it.

    Raises:
        WarmloopError: none is named, it exists and must not be overwritten, or it cannot be written.
    """
    if not out:
        raise WarmloopError("Say where to write, as in --out=demos.npz.")
    path = check_path(out)
    if path.exists() and not overwrite:
        raise WarmloopError(f"{path} exists; choose another --out, or replace it with --overwrite.")
    check_writable(path)
    return path


def check_outputs(files: Sequence[str], outputs: Mapping[str, Path | None]) -> None:
    """Raises WarmloopError where a file to write is one that is read, is another one to write, or is a folder."""
    from ...data.formats import parse_source_argument, place_of

    taken = {place_of(parse_source_argument(file)[1]).resolve(): "" for file in files}
    for flag, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if place in taken:
            other = taken[place]
            what = f"the file of {other} as well" if other else "the original, which is never changed"
            raise WarmloopError(f"{flag}={path} is {what}; name another file.")
        if flag == "--html" and path.is_dir():
            raise WarmloopError(f"{flag}={path} is a folder; name a file.")
        taken[place] = flag


def check_writable(path: Path) -> None:
    """Makes the folder that `path` is to be in. Raises WarmloopError where nothing can be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise WarmloopError(f"{path} cannot be written: {error.strerror}.") from error


def _guarded(main: Callable[..., int | None], argv: Sequence[str], files: bool) -> int:
    if len(argv) > 1 and not files:
        fail(f'"{argv[1]}" is not a flag; flags are written --name=value.')
    try:
        with unwinding():
            return (main(argv[1:]) if files else main()) or 0
    except BrokenPipeError:
        _stop_printing()
        return 0
    except WarmloopError as error:
        fail(str(error), error.exit_code)
    except OSError as error:  # of a disk that is full, of a folder that went away
        fail(f"{error.filename or 'a file or a stream'} cannot be read or written: {error.strerror or error}.")
    except KeyboardInterrupt as error:
        leave(error)


def _print_anything() -> None:
    """What a terminal cannot show (a name of a file in another encoding, a bar where there is ASCII alone) is a question mark, no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _stop_printing() -> None:
    """Whoever reads our output has enough of it, as in `| head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parse(main: Callable[..., Any], argv: list[str], prepare: Callable[[list[str]], list[str]]) -> list[str]:
    if {"--help", "-help", "-h", "--helpshort"} & set(argv[1:]):
        try:
            print(_help(main), flush=True)
        except BrokenPipeError:
            _stop_printing()
        sys.exit(0)
    try:
        rest = flags.FLAGS(prepare(argv))
    except WarmloopError as error:
        fail(str(error))
    except flags.UnrecognizedFlagError as error:
        if error.flagname.partition(".")[0] == "config" and "config" not in flags.FLAGS:
            fail(f"--{error.flagname}: this command uses no configuration; leave the flag out.")
        fail(f"{error} (--help lists the flags)")
    except (AttributeError, KeyError, IndexError) as error:  # of --config's overrides
        from .arguments import unknown_setting

        fail(unknown_setting(prepare(argv)) or f"--config: {error.args[0]}")
    except (flags.Error, TypeError, ValueError) as error:
        fail(f"{' '.join(str(error).split())} (--help lists the flags)")
    if flags.FLAGS["verbosity"].using_default_value:
        flags.FLAGS.verbosity = absl_logging.WARNING  # which absl would otherwise set to INFO
    return rest


def _help(main: Callable[..., Any]) -> str:
    """The module's docstring, then its flags with their defaults."""
    module = sys.modules[main.__module__]
    parts = [(module.__doc__ or "").strip(), "", "Flags:"]
    for flag in sorted(flags.FLAGS.get_key_flags_for_module(module), key=lambda flag: flag.name):
        default = "" if flag.default in (None, "", []) else f" (default: {str(flag.default_as_str).strip(chr(39))})"
        parts.append(f"  --{'[no]' if flag.boolean else ''}{flag.name}")
        text = re.sub(r";\s+repeat this option.*", "", flag.help, flags=re.DOTALL)
        parts.append(textwrap.indent(textwrap.fill(f"{text}{default}", 100), "      "))
    return "\n".join([*parts, "", "--helpfull also lists the flags of the libraries."])


class _Stderr(logging.StreamHandler):
    """Writes to what `sys.stderr` is at that moment: while a bar is drawn there, it moves aside for a line."""

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, stream: Any) -> None:
        pass


def _quieten() -> None:
    """Leaves the warnings that matter, in a plain format, and warmloop's own messages."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what its failures mean is said by whoever meets them
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    logging.getLogger("jax").setLevel(logging.ERROR)
    absl_logging.get_absl_handler().setFormatter(logging.Formatter("%(levelname)s %(message)s"))

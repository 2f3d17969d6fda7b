"""Regenerates the protobuf code beside this file: `python -m warmloop.data.wire.generate` (needs grpcio-tools)."""

from __future__ import annotations

import importlib
import pathlib
import re

from ..errors import WarmloopError

HERE = pathlib.Path(__file__).parent
GENERATED = ("warmloop_pb2.py", "warmloop_pb2.pyi", "warmloop_pb2_grpc.py")
HEADER = "# ruff: noqa\n# type: ignore\n"


def generate(directory: pathlib.Path = HERE) -> None:
    """Writes the three generated files into `directory`. Raises WarmloopError without grpcio-tools or on a bad .proto."""
    try:
        protoc = importlib.import_module("grpc_tools.protoc")
    except ImportError as error:
        raise WarmloopError("Generating the wire code needs grpcio-tools: pip install grpcio-tools.") from error
    outputs = [f"--{kind}_out={directory}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{HERE}", *outputs, "warmloop.proto"]) != 0:
        raise WarmloopError(f"protoc could not compile {HERE / 'warmloop.proto'}; its message is above.")
    for name in GENERATED:
        path = directory / name
        # protoc writes an absolute import, which would need this folder on sys.path.
        text = re.sub(r"^import warmloop_pb2", "from . import warmloop_pb2", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        path.write_text((HEADER if name.endswith(".py") else "# ruff: noqa\n") + text)


if __name__ == "__main__":
    generate()

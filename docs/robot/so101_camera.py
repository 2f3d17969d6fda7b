"""A camera at the simulated SO-101, for LeRobot's own ZMQ camera, "front=zmq:127.0.0.1": a process of its own, since drawing takes long.

    MUJOCO_GL=egl python docs/robot/so101_camera.py --camera=front --table=http://127.0.0.1:5101/

It asks simulated_so101.py where all is, draws that, and publishes JSON with JPEGs in base64, as LeRobot's image server does. Needs pyzmq.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import time
import urllib.request
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image
from so101_scene import CAMERAS, Scene

SIZE = (320, 240)  # width, height


def jpeg(picture: np.ndarray) -> str:
    """In base64, with red and blue exchanged: LeRobot's image server gives RGB to OpenCV, which wants blue first; LeRobot's camera takes
    what OpenCV decodes for RGB."""
    data = io.BytesIO()
    Image.fromarray(picture[..., ::-1]).save(data, "JPEG", quality=85)
    return base64.b64encode(data.getvalue()).decode()


def publish(camera: str, table: str, port: int, hz: float) -> None:
    """Until the table is gone."""
    zmq: Any = import_module("zmq")
    outlet = zmq.Context.instance().socket(zmq.PUB)
    outlet.setsockopt(zmq.SNDHWM, 2)
    outlet.bind(f"tcp://127.0.0.1:{port}")
    scene, first = Scene(), True
    while True:
        began = time.monotonic()
        with urllib.request.urlopen(urllib.request.Request(f"{table}scene", b"{}"), timeout=10.0) as answer:
            qpos = np.array(json.load(answer)["qpos"])
        pictures = {camera: jpeg(scene.drawn(qpos, camera, *SIZE))}
        outlet.send_string(json.dumps({"timestamps": {camera: time.time()}, "images": pictures}))
        if first:
            print(f"publishing: {camera} at {port}", flush=True)
            first = False
        time.sleep(max(0.0, 1.0 / hz - (time.monotonic() - began)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camera", choices=sorted(CAMERAS), default="front", help="(%(default)s)")
    parser.add_argument("--table", default="http://127.0.0.1:5101/", help="the server of simulated_so101.py (%(default)s)")
    parser.add_argument("--port", type=int, default=5555, help="where the pictures are published; LeRobot's default (%(default)s)")
    parser.add_argument("--hz", type=float, default=10.0, help="pictures a second, if drawing is so fast (%(default)s)")
    given = parser.parse_args()
    publish(given.camera, given.table, given.port, given.hz)


if __name__ == "__main__":
    main()

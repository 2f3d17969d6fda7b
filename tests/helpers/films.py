"""The frames of a film, by ffmpeg itself. imageio's reader forks, which a process that has used gRPC must not."""

import subprocess

import imageio_ffmpeg
import numpy as np
from PIL import Image


def frames_of(path):
    """`[T, H, W, 3]` uint8."""
    stills = path.with_suffix(".stills")
    stills.mkdir()
    try:
        subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), str(stills / "%05d.png")], check=True)
        return np.stack([np.asarray(Image.open(still).convert("RGB")) for still in sorted(stills.iterdir())])
    finally:
        for still in stills.iterdir():
            still.unlink()
        stills.rmdir()

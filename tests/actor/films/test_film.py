"""Films are whole or an error in words, also beside gRPC, whose handlers would abort a fork."""

import subprocess
import sys

import numpy as np
import pytest
from films import frames_of

from warmloop.actor.films.film import Film
from warmloop.data.errors import WarmloopError

FRAMES = np.zeros((5, 16, 16, 3), np.uint8)

# A server and four threads that are never done calling it, while films are recorded and read.
BESIDE_GRPC = """
import sys, threading
from concurrent import futures
from pathlib import Path
import grpc, numpy as np
from warmloop.actor.films.film import Film
from warmloop.data.formats.lerobot.video_frames import Reel

server = grpc.server(futures.ThreadPoolExecutor(2))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
grpc.channel_ready_future(channel).result()

def call():
    method = channel.unary_unary("/nobody/listens")
    while True:
        try:
            method(b"")
        except grpc.RpcError:
            pass

for _ in range(4):
    threading.Thread(target=call, daemon=True).start()
for number in range(30):
    with Film(Path(sys.argv[1]) / f"{number}.mp4", 20.0) as film:
        for _ in range(5):
            film.append(np.zeros((16, 16, 3), np.uint8))
    reel = Reel(Path(sys.argv[1]) / f"{number}.mp4", 20.0)
    assert reel.take(np.arange(5) / 20.0).shape == (5, 16, 16, 3)
    reel.close()
"""


@pytest.mark.slow
def test_thirty_films_beside_a_busy_grpc_channel_are_written_and_read_whole_and_nothing_dies(tmp_path):
    done = subprocess.run([sys.executable, "-c", BESIDE_GRPC, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Fatal" not in done.stderr and "fork" not in done.stderr, done.stderr
    films = sorted(tmp_path.iterdir())
    assert len(films) == 30 and all(frames_of(film).shape == (5, 16, 16, 3) for film in films)


def test_frames_of_odd_size_are_made_even_and_keep_what_they_show(tmp_path):
    with Film(tmp_path / "odd.mp4", 12.5) as film:
        for _ in range(4):
            film.append(np.full((15, 17, 3), 200, np.uint8))
    frames = frames_of(tmp_path / "odd.mp4")
    assert frames.shape == (4, 16, 18, 3) and abs(int(np.median(frames)) - 200) < 8


def test_a_film_that_breaks_off_leaves_no_file(tmp_path):
    with pytest.raises(KeyError), Film(tmp_path / "half.mp4", 20.0) as film:
        film.append(FRAMES[0])
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "said"),
    [([np.zeros((8, 8, 3, 2))], r"its frames are \(8, 8, 3, 2\)"), ([FRAMES[0], np.zeros((8, 8, 3))], r"frames of \(16, 16, 3\) become")],
)
def test_frames_that_make_no_film_are_refused_in_words(tmp_path, frames, said):
    with pytest.raises(WarmloopError, match=said), Film(tmp_path / "none.mp4", 20.0) as film:
        for frame in frames:
            film.append(frame)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with (
        pytest.raises(WarmloopError, match=r"gone.*film\.mp4 cannot be recorded: .*No such file"),
        Film(tmp_path / "gone" / "film.mp4", 20.0) as film,
    ):
        for _ in range(2000):
            film.append(FRAMES[0])

import os
import random

import pytest
from learners import LearnerProcess
from machine_faults import Faults


@pytest.fixture
def faults(tmp_path):
    """Faults of the machine for processes started with its environment."""
    try:
        return Faults(tmp_path)
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture
def learner(tmp_path):
    """Starts a learner process with the given options; every learner of a test is killed at its end."""
    started = []

    def start(*options: str, **more) -> LearnerProcess:
        started.append(LearnerProcess(tmp_path / f"learner-{len(started)}", *options, **more))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def chance():
    """Random numbers whose seed is printed; FAULT_SEED=… repeats it."""
    seed = int(os.environ.get("FAULT_SEED", random.SystemRandom().randrange(10**6)))
    print(f"FAULT_SEED={seed}")
    return random.Random(seed)

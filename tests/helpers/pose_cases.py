"""Poses and turns that Hypothesis makes up."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

number = st.floats(-1.0, 1.0)
fours = st.tuples(number, number, number, number).map(np.array).filter(lambda q: np.linalg.norm(q) > 0.1)
quaternions = fours.map(lambda q: q / np.linalg.norm(q))
vectors = st.tuples(number, number, number).map(np.array)
quick = settings(max_examples=60, deadline=None)


def pose_of(position, quaternion) -> np.ndarray:
    return np.concatenate([position, quaternion])

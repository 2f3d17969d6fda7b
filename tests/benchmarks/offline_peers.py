"""Trains an offline algorithm of d3rlpy and then acts for whoever started it. Runs in the peers' environment (peers.py).

    PEERS/bin/python tests/benchmarks/offline_peers.py ALGORITHM DATA.npz SEED UPDATES HIDDEN BATCH

All is d3rlpy's default but for two hidden layers of HIDDEN, and a batch of BATCH unless that is 0. Prints the seconds of training as a
line; then, for each observation (float32) on stdin, writes the action (float32) to stdout.
"""

import os
import sys
import time

import d3rlpy
import numpy as np
import torch
from d3rlpy.models import VectorEncoderFactory

CONFIGS = {"bc": "BC", "td3bc": "TD3PlusBC", "iql": "IQL", "awac": "AWAC", "bcq": "BCQ", "cql": "CQL"}
ENCODERS = {
    "bc": ("encoder",),
    "iql": ("actor_encoder", "critic_encoder", "value_encoder"),
    "bcq": ("actor_encoder", "critic_encoder", "imitator_encoder"),
}


def main() -> None:
    (name, path), (seed, updates, hidden, batch) = sys.argv[1:3], map(int, sys.argv[3:])
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # d3rlpy logs to stdout, which is for the actions
    torch.set_num_threads(1)
    d3rlpy.seed(seed)
    with np.load(path) as arrays:
        rows = {key: arrays[key] for key in ("observations", "actions", "rewards", "terminals", "timeouts")}
    dataset = d3rlpy.dataset.MDPDataset(*(rows[key] for key in ("observations", "actions", "rewards", "terminals", "timeouts")))
    encoder = VectorEncoderFactory([hidden, hidden])
    encoders = {f"{part}_factory": encoder for part in ENCODERS.get(name, ("actor_encoder", "critic_encoder"))}
    algorithm = getattr(d3rlpy.algos, f"{CONFIGS[name]}Config")(**encoders).create(device="cpu:0")
    algorithm.build_with_dataset(dataset)
    batch = batch or algorithm.config.batch_size
    began = time.perf_counter()
    for _ in range(updates):
        algorithm.update(dataset.sample_transition_batch(batch))
    answers.write(f"{time.perf_counter() - began}\n".encode())
    size = 4 * rows["observations"].shape[1]
    while len(message := sys.stdin.buffer.read(size)) == size:
        action = algorithm.predict(np.frombuffer(message, np.float32)[None])
        answers.write(np.asarray(action[0], np.float32).tobytes())


if __name__ == "__main__":
    main()

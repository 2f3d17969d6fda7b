"""Speed of other libraries at warmloop's work, on the same machine and settings. One line of JSON for each peer.

    python tests/benchmarks/peers.py --case sac|sac_utd2|sac_utd20|cql|td3bc|bc|iql|replay [--seconds 10]

It never imports warmloop and runs in an environment of its own, since the peers pin packages that warmloop does not:

    python -m venv PEERS && PEERS/bin/pip install stable-baselines3 sbx-rl d3rlpy cpprb flashbax
    BENCH_PEERS=PEERS/bin/python make bench

Every case is confined to two cores and no accelerator, but for --device=any.
Rows are random, with an observation of 39 numbers and an action of 28 (17 and 6
in the case iql), and fill the peer's own replay memory beforehand. Networks have two hidden layers of 256, batches 256 rows; an update
includes drawing its rows.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator

CORES = 2
ANY_DEVICE = "--device=any" in sys.argv  # and not two cores alone; read before JAX and PyTorch are imported
if hasattr(os, "sched_setaffinity") and not ANY_DEVICE:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
if not ANY_DEVICE:
    os.environ |= {"OMP_NUM_THREADS": str(CORES), "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}

import numpy as np  # noqa: E402

OBSERVATION, ACTION, HIDDEN, BATCH = 39, 28, [256, 256], 256
LOCOMOTION = 17, 6  # the shapes of the case iql
TORCH, TORCH_0 = ("auto", "cuda:0") if ANY_DEVICE else ("cpu", "cpu:0")
EPISODE, EPISODES = 200, 500  # 100,000 rows for the learning cases
REPLAY_ROWS, REPLAY_DRAW = 1_000_000, 20 * 256  # as a block of 20 critic steps draws at once
ALPHA, BETA = 0.6, 0.4


def rate(step: Callable[[], object], seconds: float, rounds: int = 4) -> float:
    """Calls of `step` a second, after a warm-up: the best of some rounds, as warmloop's own; a call returns when its results are there."""
    for _ in range(5):
        step()
    rates = []
    for _ in range(rounds):
        calls, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds / rounds:
            step()
            calls += 1
        rates.append(calls / elapsed)
    return max(rates)


def torch_rate(step: Callable[[], object], seconds: float) -> float:
    """The better of PyTorch's rates on one core and on all: for networks this small either may win."""
    import torch

    rates = []
    for threads in (1, CORES):
        torch.set_num_threads(threads)
        rates.append(rate(step, seconds))
    return max(rates)


def random_rows(n: int, observation: int = OBSERVATION, action: int = ACTION) -> dict[str, np.ndarray]:
    """Columns of `n` random transitions, the last of every episode terminal."""
    rng = np.random.default_rng(0)
    return {
        "observation": rng.standard_normal((n, observation), dtype=np.float32),
        "action": rng.uniform(-1, 1, (n, action)).astype(np.float32),
        "reward": rng.standard_normal(n, dtype=np.float32),
        "done": np.arange(1, n + 1) % EPISODE == 0,
    }


def fill_sb3_buffer(buffer) -> None:
    """Writes random rows into every slot of a Stable-Baselines3 replay buffer, which SBX uses too."""
    rows = random_rows(buffer.buffer_size)
    buffer.observations[:, 0] = rows["observation"]
    buffer.next_observations[:, 0] = np.roll(rows["observation"], -1, axis=0)
    buffer.actions[:, 0] = rows["action"]
    buffer.rewards[:, 0] = rows["reward"]
    buffer.dones[:, 0] = rows["done"]
    buffer.full = True


def sac_trainer(algorithm, *, utd: int = 1, **policy_kwargs) -> Callable[[], None]:
    """A call of `train` of Stable-Baselines3's or SBX's SAC: `utd` critic steps, then one of actor and temperature."""
    import gymnasium
    from stable_baselines3.common.logger import Logger

    class Spaces(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (ACTION,), np.float32)

    delay = {"policy_delay": utd} if utd > 1 else {}
    policy_kwargs = {"net_arch": HIDDEN, **policy_kwargs}
    model = algorithm("MlpPolicy", Spaces(), buffer_size=EPISODE * EPISODES, policy_kwargs=policy_kwargs, device=TORCH, seed=0, **delay)
    model.set_logger(Logger(None, []))
    fill_sb3_buffer(model.replay_buffer)
    return lambda: model.train(gradient_steps=utd, batch_size=BATCH)  # which ends by reading its losses, so results are there


def sac(seconds: float) -> Iterator[tuple[str, float, str]]:
    """SAC with 2 critics: a critic, an actor and a temperature step on one batch. Stable-Baselines3's default, and SBX's, is the same."""
    import sbx
    import stable_baselines3

    yield "stable-baselines3", torch_rate(sac_trainer(stable_baselines3.SAC, n_critics=2), seconds), "updates/s"
    yield "sbx", rate(sac_trainer(sbx.SAC, n_critics=2), seconds), "updates/s"


def sac_utd2(seconds: float) -> Iterator[tuple[str, float, str]]:
    """The same with two critic steps for each step of actor and temperature, as HIL-SERL's learner; LeRobot's is in lerobot_peers.py."""
    import sbx

    yield "sbx", rate(sac_trainer(sbx.SAC, utd=2, n_critics=2), seconds), "updates/s"


def sac_utd20(seconds: float) -> Iterator[tuple[str, float, str]]:
    """SAC with 10 critics that use LayerNorm and no dropout. A block is gradient_steps=20 with policy_delay=20: 20 critic steps, then
    one of actor and temperature.

    SBX takes the least of all 10 critics for its target, where RLPD takes that of a random 2; all 10 are evaluated either way.
    """
    import sbx

    yield "sbx", rate(sac_trainer(sbx.SAC, utd=20, n_critics=10, layer_norm=True), seconds), "blocks/s"


def d3rlpy_rate(seconds: float, config: str, critics: bool = True, shape: tuple[int, int] = (OBSERVATION, ACTION), **settings) -> float:
    """Updates a second of a d3rlpy algorithm, each on a batch that its data set draws; `shape` is of observation and action."""
    import d3rlpy
    from d3rlpy.models import VectorEncoderFactory

    d3rlpy.seed(0)
    rows = random_rows(EPISODE * EPISODES, *shape)
    dataset = d3rlpy.dataset.MDPDataset(rows["observation"], rows["action"], rows["reward"], rows["done"].astype(np.float32))
    encoder = VectorEncoderFactory(HIDDEN)
    networks = {"actor_encoder_factory": encoder, "critic_encoder_factory": encoder} if critics else {"encoder_factory": encoder}
    algorithm = getattr(d3rlpy.algos, config)(batch_size=BATCH, **networks, **settings).create(device=TORCH_0)
    algorithm.build_with_dataset(dataset)
    return torch_rate(lambda: algorithm.update(dataset.sample_transition_batch(BATCH)), seconds)


def cql(seconds: float) -> Iterator[tuple[str, float, str]]:
    """d3rlpy's CQL at its defaults: 10 actions each of the uniform, the current and the next policy; no entropy in the target; the
    conservative weight 5 is multiplied by a learnt Lagrange multiplier (threshold 10), which costs one optimizer step on a scalar."""
    yield "d3rlpy", d3rlpy_rate(seconds, "CQLConfig", n_critics=2, n_action_samples=10), "updates/s"


def td3bc(seconds: float) -> Iterator[tuple[str, float, str]]:
    """d3rlpy's TD3+BC at its defaults: two critics, the policy every second update; no normalisation, which is done beforehand."""
    yield "d3rlpy", d3rlpy_rate(seconds, "TD3PlusBCConfig"), "updates/s"


def bc(seconds: float) -> Iterator[tuple[str, float, str]]:
    """d3rlpy's BC at its defaults: a deterministic policy by squared error."""
    yield "d3rlpy", d3rlpy_rate(seconds, "BCConfig", critics=False), "updates/s"


def iql(seconds: float) -> Iterator[tuple[str, float, str]]:
    """d3rlpy's IQL at its defaults: two critics, V, and the policy at every update; an observation of 17 numbers, an action of 6."""
    yield "d3rlpy", d3rlpy_rate(seconds, "IQLConfig", shape=LOCOMOTION), "updates/s"


def cpprb_rate(rows: dict[str, np.ndarray], seconds: float) -> float:
    """Rows a second that cpprb draws by priority and gives new priorities."""
    import cpprb

    columns = {"obs": {"shape": OBSERVATION}, "act": {"shape": ACTION}, "next_obs": {"shape": OBSERVATION}, "rew": {}, "done": {}}
    buffer = cpprb.PrioritizedReplayBuffer(REPLAY_ROWS, columns, alpha=ALPHA)
    following = np.roll(rows["observation"], -1, axis=0)
    buffer.add(obs=rows["observation"], act=rows["action"], next_obs=following, rew=rows["reward"], done=rows["done"])
    td_error = np.random.default_rng(1).exponential(size=REPLAY_DRAW).astype(np.float32)

    def step() -> None:
        drawn = buffer.sample(REPLAY_DRAW, beta=BETA)
        buffer.update_priorities(drawn["indexes"], td_error)

    return REPLAY_DRAW * rate(step, seconds)


def flashbax_rate(rows: dict[str, np.ndarray], seconds: float) -> float:
    """Rows a second of flashbax's prioritised flat buffer: a donated, compiled draw, weights and write-back. It stores an observation
    once and reads the next one from the row after."""
    import flashbax
    import jax
    import jax.numpy as jnp

    buffer = flashbax.make_prioritised_flat_buffer(
        REPLAY_ROWS, min_length=REPLAY_DRAW, sample_batch_size=REPLAY_DRAW, add_sequences=True, priority_exponent=ALPHA
    )
    state = buffer.init({name: jnp.asarray(column[0]) for name, column in rows.items()})
    add, chunk = jax.jit(buffer.add, donate_argnums=0), 50_000
    for start in range(0, REPLAY_ROWS, chunk):
        state = add(state, {name: jnp.asarray(column[start : start + chunk]) for name, column in rows.items()})
    td_error = jax.random.exponential(jax.random.key(1), (REPLAY_DRAW,))

    def draw_and_write(state, key):
        key, draw_key = jax.random.split(key)
        drawn = buffer.sample(state, draw_key)
        weights = (REPLAY_ROWS * drawn.probabilities) ** -BETA
        return buffer.set_priorities(state, drawn.indices, td_error), key, drawn.experience, weights / weights.max()

    compiled = jax.jit(draw_and_write, donate_argnums=0)
    carry = (state, jax.random.key(0))

    def step() -> None:
        nonlocal carry
        state, key, *drawn = compiled(*carry)
        jax.block_until_ready((state, drawn))
        carry = (state, key)

    return REPLAY_DRAW * rate(step, seconds)


def replay(seconds: float) -> Iterator[tuple[str, float, str]]:
    """A prioritized memory of a million rows: draw 5,120 at once with their importance weights, then write 5,120 new priorities."""
    rows = random_rows(REPLAY_ROWS)
    yield "cpprb", cpprb_rate(rows, seconds), "rows/s"
    yield "flashbax", flashbax_rate(rows, seconds), "rows/s"


CASES = {"sac": sac, "sac_utd2": sac_utd2, "sac_utd20": sac_utd20, "cql": cql, "td3bc": td3bc, "bc": bc, "iql": iql, "replay": replay}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--seconds", type=float, default=10.0, help="time measured for each peer")
    parser.add_argument("--device", choices=["cpu", "any"], default="cpu", help="any: the accelerator, where there is one")
    arguments = parser.parse_args()
    output = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # d3rlpy logs to stdout, which is for the figures
        for peer, value, unit in CASES[arguments.case](arguments.seconds):
            print(json.dumps({"peer": peer, "case": arguments.case, "value": round(value, 2), "unit": unit}), file=output, flush=True)


if __name__ == "__main__":
    main()

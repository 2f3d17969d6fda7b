"""Speed of LeRobot's HIL-SERL learner at warmloop's case sac_utd2, on the same machine. One line of JSON, as peers.py.

    python -m venv LEROBOT && LEROBOT/bin/pip install lerobot==0.4.4
    LEROBOT/bin/python tests/benchmarks/lerobot_peers.py [--seconds 10] [--device=any]

Its own policy, replay buffers and optimisers; a call is one turn of its learner's loop, in the loop's order: two batches, each half from
the online and half from the offline buffer, a critic step and a target step on each, an actor and a temperature step on the last. Its
encoder puts a layer of 256 before the networks; the rest has warmloop's sizes. Never imports warmloop.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from peers import ACTION, ANY_DEVICE, BATCH, EPISODE, EPISODES, OBSERVATION, random_rows, torch_rate

UTD = 2


def filled(device: str) -> Any:
    """One of its replay buffers, full of random rows."""
    import torch
    from lerobot.rl.buffer import ReplayBuffer
    from lerobot.utils.constants import OBS_STATE

    count = EPISODE * EPISODES
    rows = {name: torch.from_numpy(column) for name, column in random_rows(count).items()}
    buffer = ReplayBuffer(count, device=device, state_keys=[OBS_STATE], storage_device=device)
    first = {OBS_STATE: rows["observation"][:1]}
    buffer.add(first, rows["action"][:1], 0.0, first, False, False)
    buffer.states[OBS_STATE].copy_(rows["observation"])
    buffer.next_states[OBS_STATE].copy_(rows["observation"].roll(-1, 0))
    buffer.actions.copy_(rows["action"])
    buffer.rewards.copy_(rows["reward"])
    buffer.dones.copy_(rows["done"])
    buffer.truncateds.zero_()
    buffer.size = count
    return buffer


def learner(device: str) -> Callable[[], float]:
    """A call of one turn of its loop, which ends by reading the losses."""
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.sac.configuration_sac import SACConfig
    from lerobot.policies.sac.modeling_sac import SACPolicy
    from lerobot.rl.buffer import concatenate_batch_transitions
    from lerobot.rl.learner import check_nan_in_transition, make_optimizers_and_scheduler
    from lerobot.utils.constants import ACTION as THE_ACTION
    from lerobot.utils.constants import OBS_STATE

    config = SACConfig(
        device=device, storage_device=device, utd_ratio=UTD,
        input_features={OBS_STATE: PolicyFeature(FeatureType.STATE, (OBSERVATION,))},
        output_features={THE_ACTION: PolicyFeature(FeatureType.ACTION, (ACTION,))},
    )  # fmt: skip
    policy = SACPolicy(config).to(device).train()
    optimisers, _ = make_optimizers_and_scheduler(SimpleNamespace(policy=config), policy)
    halves = [filled(device).get_iterator(batch_size=BATCH // 2, async_prefetch=config.async_prefetch, queue_size=2) for _ in range(2)]
    parameters = {
        "critic": list(policy.critic_ensemble.parameters()),
        "actor": list(policy.actor.parameters()),
        "temperature": [policy.log_alpha],
    }

    def batch() -> dict[str, Any]:
        drawn = concatenate_batch_transitions(next(halves[0]), next(halves[1]))
        check_nan_in_transition(observations=drawn["state"], actions=drawn[THE_ACTION], next_state=drawn["next_state"])
        return {**drawn, "observation_feature": None, "next_observation_feature": None}

    def step(part: str, drawn: dict[str, Any], *, reads: bool) -> float:
        loss = policy.forward(drawn, model=part)[f"loss_{part}"]
        optimisers[part].zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters[part], max_norm=config.grad_clip_norm)
        optimisers[part].step()
        return loss.item() + norm.item() if reads else 0.0

    def turn() -> float:
        for _ in range(UTD - 1):
            step("critic", batch(), reads=False)
            policy.update_target_networks()
        last = batch()
        read = step("critic", last, reads=True)
        read += step("actor", last, reads=True) + step("temperature", last, reads=True) + policy.temperature
        policy.update_target_networks()
        return read

    return turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=["sac_utd2"], default="sac_utd2")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--device", choices=["cpu", "any"], default="cpu", help="any: the accelerator, where there is one")
    given = parser.parse_args()
    output = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        import torch

        device = "cuda" if ANY_DEVICE and torch.cuda.is_available() else "cpu"
        value = torch_rate(learner(device), given.seconds)
    print(json.dumps({"peer": "lerobot", "case": "sac_utd2", "value": round(value, 2), "unit": "updates/s"}), file=output, flush=True)


if __name__ == "__main__":
    main()

# %% [markdown]
# # Offline warm-up and online fine-tuning, in a notebook
#
# A pendulum is to be swung up. We record a controller that can nearly do it, learn from the records alone, go on in the environment, and
# export a policy that needs NumPy only. It takes a minute and a half on two cores. The cells run in any editor that knows `# %%`, and as a
# script: `python docs/notebook.py`.

# %%
import tempfile
from pathlib import Path

import numpy as np

from warmloop import ExpertDataCollector, OfflineRLTrainer

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Record
#
# A policy is any callable from an observation to an action in [-1, 1]; a model of Stable-Baselines3 and the names that `collect --policy`
# knows will do as well. This one pumps energy into the pendulum until it is nearly upright, and then holds it there, with noise on top.


# %%
def swing_up(observation):
    cosine, sine, velocity = observation
    if cosine > 0.85:
        return np.clip([-5.0 * np.arctan2(sine, cosine) - velocity], -1.0, 1.0)
    energy = velocity**2 / 6.0 - 5.0 * (1.0 - cosine)  # above that of standing upright
    return [-np.sign(velocity * energy) or 1.0]


collector = ExpertDataCollector("configs/classic.py:pendulum", folder)
episodes = collector.collect_from_policy(swing_up, 20, noise=0.3, stop_at_success=False)
path = collector.save_dataset(episodes, "demos.npz")
returns = [episode.undiscounted_return for episode in episodes]
print(f"{len(episodes)} episodes, mean return {np.mean(returns):.0f}; {path}")

# %% [markdown]
# ## Learn offline
#
# A preset holds what suits a task; an environment's id instead of it takes general settings. Further settings are keyword arguments. What
# is recorded while training comes back as a list of dicts. Ctrl-C (or the stop button) ends it in order.

# %%
small = {"hidden": (64, 64), "batch_size": 128, "cql_weight": 0.5}
trainer = OfflineRLTrainer("configs/classic.py:pendulum", algorithm="cql", actor_lr=1e-3, critic_lr=1e-3, **small)
dataset = trainer.prepare_dataset(str(path))
history = trainer.train_offline(dataset, n_steps=1_500)
print({name: round(value, 2) for name, value in history[-1].items()})

# %%
offline = trainer.evaluate(n_episodes=10)
print(f"offline: mean return {offline.mean_return:.0f}; the demonstrations' {np.mean(returns):.0f}")

# %% [markdown]
# ## Go on online
#
# The same as `train_rlpd`: after each step of the environment all the updates that it allows, on the best of the demonstrations and on
# what the policy has just done. The environment may be an id, an object, or None for the trainer's own.

# %%
trainer.finetune_online(None, n_steps=800)
online = trainer.evaluate(n_episodes=10)
print(f"online: mean return {online.mean_return:.0f}")

# %% [markdown]
# ## Keep it
#
# A saved folder holds what the commands write and read (`warmloop-evaluate --checkpoint=...`). An exported one runs on a robot without
# this package: policy.py with NumPy alone, in the environment's own units, and a StableHLO program.

# %%
trainer.save(folder / "checkpoint")
again = OfflineRLTrainer("Pendulum-v1").load(folder / "checkpoint")
for report in again.export(folder / "policy"):
    print(report)

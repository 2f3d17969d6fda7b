"""A fine-tuning in lock step that somebody watches: what is seen, and that looking changes nothing."""

import jax
import jax.numpy as jnp
import pytest
from recorded import assert_identical

from warmloop.actor.environment.environment import make_environment
from warmloop.configs.classic import task
from warmloop.data.files.run_folder import RunFolder
from warmloop.launch.run.plan import Plan
from warmloop.launch.run.recorded_data import target_of
from warmloop.launch.run.session import in_lock_step, running_learner

SMALL = {"hidden": (16, 16), "batch_size": 16}
CONFIG = task("pendulum").replace(agent=SMALL, warmup_agent=SMALL, replay={"capacity": 1000}, learner={"online_steps": 60, "max_utd": 0.5})


def learn(folder, **beside):
    """The agent, keys as numbers, after a run."""
    environment = make_environment(CONFIG.environment, CONFIG.reward)
    plan = Plan(CONFIG, RunFolder(folder), 0, lock_step=True)
    with running_learner(plan, target_of(environment)) as (learner, meta):
        in_lock_step(plan, learner, meta, environment, **beside)
    is_key = jax.dtypes.prng_key
    return jax.tree.map(lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, is_key) else x, learner.state.agent)


@pytest.mark.long
def test_a_watcher_sees_the_learner_before_the_first_step_and_after_the_updates_of_each(tmp_path):
    seen = []

    def watch(learner):
        assert jnp.isfinite(learner.state.agent.log_temperature)
        seen.append((learner.environment_steps, learner.updates, learner.owed))

    watched = learn(tmp_path / "watched", watch=watch)
    assert seen[0] == (0, 0, 0) and len(seen) == 61 and seen[-1] == (60, 30, 0)
    assert all(owed <= 0 for _, _, owed in seen) and [steps for steps, _, _ in seen] == sorted(steps for steps, _, _ in seen)
    assert_identical(watched, learn(tmp_path / "alone"))

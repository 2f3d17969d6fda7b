"""Success told by classifiers, one or several in order, and labels: how a person's words and the steps after a success are recorded."""

import numpy as np
import pytest
from lamps import lamp_classifier, lamp_episode

from warmloop.actor.endings.classified import Stages, pinned
from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, record_episode
from warmloop.actor.intervention.intervention import Command, Signal
from warmloop.actor.policies.policy import StillPolicy
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import write_episodes
from warmloop.data.reward import RewardConfig
from warmloop.data.sources.sources import DataConfig, SourceConfig, load, mark
from warmloop.launch.run.recorded_data import target_of

DARK, LEFT, RIGHT = (False, False), (True, False), (False, True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folders = [tmp_path_factory.mktemp(name) for name in ("left", "right")]
    for folder, half in zip(folders, (slice(8), slice(8, 16)), strict=True):
        lamp_classifier(folder, half)
    return folders


def played(success: str, script, reward: RewardConfig | None = None, **settings) -> list:
    environment = make_environment(EnvironmentConfig("WarmloopTest/Lamps-v0", {"script": script}, success=success, **settings), reward)
    environment.reset(0)
    results = []
    for _ in script:
        results.append(environment.step(np.zeros(2)))
        if results[-1].terminated or results[-1].truncated:
            break
    return results


def test_the_classifiers_word_is_the_success_the_reward_and_the_end(folders):
    results = played(f"classifier:{folders[0]}", [DARK, RIGHT, LEFT, DARK], RewardConfig())
    assert [(step.success, step.learner_reward, step.terminated) for step in results] == [
        (False, 0.0, False),
        (False, 0.0, False),
        (True, 1.0, True),
    ]


def test_several_frames_in_a_row_can_be_asked_for(folders):
    results = played(f"classifier:{folders[0]},consecutive=2", [LEFT, DARK, LEFT, LEFT, LEFT])
    assert [step.success for step in results] == [False, False, False, True, True]


def test_stages_are_reached_in_order_and_pay_once_each(folders):
    left, right = folders
    results = played(f"classifier:{left}+{right},stage_reward=0.5", [RIGHT, LEFT, DARK, RIGHT, RIGHT])
    assert [step.success for step in results] == [False, False, False, True, True]
    assert [step.raw_reward for step in results] == [0.0, 0.5, 0.0, 0.5, 0.0]


def test_an_episode_begins_at_the_first_stage(folders):
    stages = Stages.parse(f"classifier:{folders[0]}+{folders[1]}")
    environment = make_environment(EnvironmentConfig("WarmloopTest/Lamps-v0", {"script": [LEFT, RIGHT, RIGHT]}))
    stages.prepare(environment.spec, "lamps")
    environment.reset(0)
    left, right = environment.step(np.zeros(2)).next_observation, environment.step(np.zeros(2)).next_observation
    assert [stages(frame)[0] for frame in (left, right)] == [False, True]
    stages.begin()
    assert not stages(right)[0]


def test_an_agent_need_not_see_what_the_classifier_looks_at(folders):
    script, rule = [DARK, RIGHT, LEFT, DARK], f"classifier:{folders[0]}"
    results = played(rule, script, RewardConfig(), unseen=("front",))
    assert [result.success for result in results] == [result.success for result in played(rule, script, RewardConfig())]
    assert [set(result.next_observation) for result in results] == [{"pose"}] * 3
    environment = make_environment(EnvironmentConfig("WarmloopTest/Lamps-v0", success=rule, unseen=("front",)))
    assert set(environment.reset(0)) == {leaf.name for leaf in environment.spec.observation} == set(environment.space) == {"pose"}


def test_what_the_agent_does_not_see_is_recorded_where_it_is_asked_for(folders):
    class Seer:
        def begin(self, seed):
            self.seen = set()

        def __call__(self, observation, step):
            self.seen |= set(observation)
            return np.zeros(2, np.float32)

    script, policy = [DARK, RIGHT, LEFT, DARK], Seer()
    config = EnvironmentConfig("WarmloopTest/Lamps-v0", {"script": script}, success=f"classifier:{folders[0]}", unseen=("front",))
    found, all_of_it = (
        record_episode(make_environment(config), policy, 0, EpisodePlan(stop_at_success=True, unseen=unseen)).episode.steps
        for unseen in (False, True)
    )
    assert policy.seen == set(found.observation) == {"pose"} and set(all_of_it.next_observation) == {"front", "pose"}
    lit = [frame[4:12, :8].mean() > 120 for frame in all_of_it.next_observation["front"]]
    assert lit == [False, False, True]
    np.testing.assert_array_equal(all_of_it.observation["front"][1:], all_of_it.next_observation["front"][:-1])


def test_data_with_what_the_agent_does_not_see_are_taken_without_it(folders, tmp_path):
    write_episodes(tmp_path / "lamps.npz", [lamp_episode(0)], mark(None))
    unseen = make_environment(EnvironmentConfig("WarmloopTest/Lamps-v0", unseen=("front",)))
    data = DataConfig((SourceConfig(str(tmp_path / "lamps.npz")),))
    (episode,) = load(data, None, target_of(unseen)).episodes
    assert set(episode.steps.observation) == set(episode.steps.next_observation) == {"pose"}
    np.testing.assert_array_equal(episode.steps.observation["pose"], lamp_episode(0).steps.observation["pose"])


def test_unseen_parts_must_be_there_and_leave_one(folders):
    for unseen, problem in ((("frnt",), "did you mean front"), (("front", "pose"), "leave a part for the agent")):
        with pytest.raises(WarmloopError, match=problem):
            make_environment(EnvironmentConfig("WarmloopTest/Lamps-v0", unseen=unseen))
    with pytest.raises(WarmloopError, match="have no named parts"):
        make_environment(EnvironmentConfig("Pendulum-v1", unseen=("front",)))


def test_what_is_saved_says_which_classifier_it_was_and_another_is_refused(folders):
    rule = pinned(f"classifier:{folders[0]}+{folders[1]},consecutive=2")
    assert rule.count("+") == 2 and pinned(rule) == rule and pinned("auto") == "auto"
    played(rule, [DARK])
    left, right = rule.partition("sha256=")[2].split("+")
    with pytest.raises(WarmloopError, match="is not the one that was used before"):
        played(rule.replace(left, right), [DARK])


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("classifier:", "name the classifier's folder"),
        ("classifier:a+", "name the classifier's folder"),
        ("classifier:a,consecutve=2", "did you mean consecutive"),
        ("classifier:a,consecutive=two", "must be a number"),
        ("classifier:a,consecutive=0", "at least 1"),
    ],
)
def test_mistakes_in_the_rule_are_sentences(rule: str, said: str):
    with pytest.raises(WarmloopError, match=said):
        EnvironmentConfig("WarmloopTest/Lamps-v0", success=rule)


def test_other_observations_than_the_classifiers_are_a_sentence(folders):
    with pytest.raises(WarmloopError, match="train one on frames of this environment"):
        make_environment(EnvironmentConfig("Pendulum-v1", success=f"classifier:{folders[0]}"))
    with pytest.raises(WarmloopError, match="There is no classifier"):
        make_environment(EnvironmentConfig("Pendulum-v1", success="classifier:nowhere"))


class Words:
    """A person who says words at steps, and does not act."""

    def __init__(self, words):
        self.words = words

    def begin(self, seed):
        pass

    def __call__(self, observation, action, step):
        return Command(None, self.words.get(step))

    def close(self):
        pass


def recorded(words, success="operator", **settings):
    config = EnvironmentConfig("WarmloopTest/Lamps-v0", {"success_at": settings.pop("success_at", 99)}, success=success)
    plan = EpisodePlan(**{"stop_at_success": True} | settings)
    return record_episode(make_environment(config), StillPolicy(2), 0, plan, intervener=Words(words))


def test_a_simulator_that_ends_at_success_is_stepped_on_for_as_long_as_it_was_asked():
    episode = recorded({}, "auto", success_at=3, after_success=4).episode
    np.testing.assert_array_equal(episode.success, [False] * 3 + [True] * 5)
    np.testing.assert_array_equal(episode.steps.mask, [1] * 7 + [0])
    assert len(recorded({}, "auto", success_at=3).episode) == 4


def test_a_persons_words_label_the_steps_from_there_on():
    found = recorded({2: Signal.SUCCESS, 4: Signal.FAILURE, 6: Signal.SUCCESS}, after_success=5)
    np.testing.assert_array_equal(found.episode.success, [False, False, True, True, False, False, True, True])


def test_a_failure_before_any_success_and_an_unwanted_episode_end_at_once():
    assert len(recorded({1: Signal.FAILURE}, after_success=5).episode) == 2
    found = recorded({1: Signal.SUCCESS, 3: Signal.DISCARD}, after_success=5)
    assert len(found.episode) == 4 and found.signal is Signal.DISCARD


def test_the_time_limit_ends_the_steps_after_a_success():
    episode = recorded({7: Signal.SUCCESS}, after_success=5).episode
    np.testing.assert_array_equal(episode.success, [False] * 7 + [True] * 2)
    assert episode.steps.truncated[-1]

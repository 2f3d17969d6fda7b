"""Trains a reward classifier on recorded frames, for environments that give no success signal.

    warmloop collect --config=my_robot.py --policy=none --intervention=keyboard --success=operator --label --episodes=20 --out=frames.npz
    warmloop classifier --data=frames.npz --out=classifiers/cube
    train_rlpd ... --config.environment.success=classifier:classifiers/cube

The data are episodes with a success signal, in any format that training takes. Some whole episodes are held out: they give the
threshold for the chosen false-positive rate, and the figures. Writes params.safetensors, classifier.json, the plot classifier.png and
the worst mistakes as mistakes.png; see docs/classifier.md.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from ..data.errors import WarmloopError
from .flags import data_flags
from .flags.common import output_path, progress, run

if TYPE_CHECKING:
    from ..agents.classifiers.classifier import ClassifierConfig

flags.adopt_module_key_flags(data_flags)
DATA = flags.DEFINE_multi_string("data", [], "Recorded episodes with a success signal; repeatable.")
flags.DEFINE_alias("offline_data_path", DATA.name)
OUT = flags.DEFINE_string("out", None, "Folder to write the classifier to.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the classifier in --out.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the choice of held-out episodes, and of the training.", lower_bound=0)
HELD_OUT = flags.DEFINE_float(
    "held_out", 0.3, "Share of the episodes to hold out for the threshold and the figures.", lower_bound=0.05, upper_bound=0.9
)
RATE = flags.DEFINE_float(
    "max_false_positive_rate", 0.01, "Largest share of the failures that may be judged a success; it sets the threshold.", lower_bound=0.0
)
MEMBERS = flags.DEFINE_integer("members", 3, "Number of networks in the ensemble.")
COMBINE = flags.DEFINE_enum(
    "combine",
    "mean",
    ["mean", "min"],
    "Combination of the ensemble's probabilities: their mean, or their minimum, which is high only if all networks agree.",
)
ENCODER = flags.DEFINE_enum("encoder", "cnn", ["cnn", "resnet10"], "Network that encodes the images.")
WEIGHTS = flags.DEFINE_string("weights", "", "Trunk of --encoder=resnet10: HIL-SERL's resnet10_params.pkl or LeRobot's model.safetensors.")
FROZEN = flags.DEFINE_bool("frozen", False, "Keep the trunk of --weights as it is, and train the rest.")
FEATURES = flags.DEFINE_integer("features", 64, "Size of the encoding of each camera's image.")
PROPRIOCEPTION = flags.DEFINE_bool(
    "proprioception",
    False,
    "Give the classifier the numbers of an observation beside its camera images. Needed for observations without images.",
)
UPDATES = flags.DEFINE_integer("updates", 500, "Gradient steps of each network.")
BATCH = flags.DEFINE_integer("batch_size", 64, "Frames of a gradient step, half of them of success.")
SHIFT = flags.DEFINE_integer("random_shift", 4, "Largest shift of images in training, in pixels.")
BRIGHTNESS = flags.DEFINE_float("brightness", 0.2, "Largest change of the images' brightness in training, as a share.")


def main() -> None:
    from ..agents.classifiers.classifier import Classifier
    from ..agents.classifiers.trained_classifier import TrainedClassifier, write
    from ..learner.classifiers import calibration, classifier_report
    from ..learner.classifiers import classifier_training as training

    if not DATA.value:
        raise WarmloopError("Name recorded frames, as in --data=frames.npz; warmloop-collect --label records them.")
    out = output_path(OUT.value, OVERWRITE.value)
    data, spec = training.labelled(episodes())
    if not (spec.cameras or PROPRIOCEPTION.value):
        raise WarmloopError(
            f"There are no camera images in --data, only {', '.join(leaf.name or 'vectors' for leaf in spec.observation)}: record them by "
            "warmloop-collect --label in an environment that has cameras, or add --proprioception to tell success from the rest."
        )
    held = training.hold_out(data, HELD_OUT.value, SEED.value)
    classifier, learnt, kept = Classifier(chosen_config(), spec), data.of(~held), data.of(held)
    with progress("training", classifier.config.updates * classifier.config.members) as advance:
        done = 0

        def show(updates: int, metrics: Any) -> None:
            nonlocal done
            advance(updates - done, f"loss {metrics['classifier/loss']:.3f}, accuracy {metrics['classifier/accuracy']:.3f}")
            done = updates

        params = training.train(classifier, learnt, SEED.value, show)
    scores = calibration.Scores(training.logits(classifier, params, kept.observation), kept.success, kept.episode)
    found = calibration.calibrate(classifier, scores, RATE.value)
    about = {
        "data": sources(),
        "seed": SEED.value,
        "max_false_positive_rate": RATE.value,
        "episodes": len(held),
        "held_out": int(held.sum()),
        "frames": [int(learnt.success.sum()), int((~learnt.success).sum())],
        "measured": calibration.measured(classifier, scores, RATE.value),
    }
    digest = write(out, TrainedClassifier(classifier, params, *found), about)
    classifier_report.plot(out / "classifier.png", classifier, scores, found, RATE.value)
    classifier_report.mistakes(out / "mistakes.png", classifier, kept, scores, found)
    print(classifier_report.table(about, found))
    print(f"{'written':<30} {out} (sha256 {digest[:12]})")


def chosen_config() -> ClassifierConfig:
    """What the flags say of the classifier. Raises WarmloopError where they do not go together."""
    from ..agents.classifiers.classifier import ClassifierConfig
    from ..agents.networks.vision import VisionConfig

    return ClassifierConfig(
        vision=VisionConfig(ENCODER.value, FEATURES.value, weights=WEIGHTS.value, frozen=FROZEN.value),
        members=MEMBERS.value,
        combine=COMBINE.value,
        proprioception=PROPRIOCEPTION.value,
        updates=UPDATES.value,
        batch_size=BATCH.value,
        random_shift=SHIFT.value,
        brightness=BRIGHTNESS.value,
    )


def episodes() -> list[Any]:
    """The episodes of all --data."""
    from ..data.formats import load_episodes

    return [episode for path in DATA.value for episode in load_episodes(path, options=data_flags.options())]


def sources() -> list[dict[str, str]]:
    """What was trained on, by path and content."""
    from ..data.files.digest import of_path

    paths = [Path(path).expanduser() for path in DATA.value]
    return [{"path": str(path), "sha256": of_path(path) if path.exists() else ""} for path in paths]


def cli() -> None:
    """The console script `warmloop-classifier`."""
    run(main)


if __name__ == "__main__":
    cli()

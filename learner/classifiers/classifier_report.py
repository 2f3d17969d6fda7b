"""A reward classifier for a person to look at: the plot of its calibration, its worst mistakes, and a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...agents.classifiers.classifier import Classifier
from ...data.pictures.contact_sheet import BAD, GOOD, Tile, save, sheet, side_by_side
from ..diagnosis.plot import INK, QUIET
from .calibration import Calibration, Scores, auc, probability, reliability
from .classifier_training import Labelled

WORST, SIZE = 6, 128


def plot(path: Path, classifier: Classifier, scores: Scores, calibration: Calibration, rate: float) -> Path:
    """The scores of held-out frames by what they show, the receiver's operating characteristic, and the reliability diagram."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    p, success = probability(classifier, scores.logits, calibration.temperature), scores.success
    figure, (hist, roc, trust) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    bins = np.linspace(0, 1, 26)
    for shown, label, colour in ((~success, "failure", QUIET), (success, "success", INK)):
        hist.hist(p[shown], bins, label=f"{label} ({shown.sum()})", color=colour, alpha=0.7)
    hist.axvline(calibration.threshold, color="black", linestyle="--", label=f"threshold {calibration.threshold:.3f}")
    hist.set(title="held-out frames", xlabel="p", yscale="log")
    cuts = np.concatenate([[np.inf], np.unique(p)[::-1], [-np.inf]])
    roc.step([(p[~success] >= cut).mean() for cut in cuts], [(p[success] >= cut).mean() for cut in cuts], where="post", color=INK)
    chosen = [float((p[shown] >= calibration.threshold).mean()) for shown in (~success, success)]
    roc.plot(*chosen, "o", color=QUIET, label=f"threshold: {chosen[0]:.3f}, {chosen[1]:.3f}")
    roc.axvline(rate, color="grey", linestyle=":", label=f"at most {rate:g}")
    roc.set(title=f"ROC, area {auc(p, success):.4f}", xlabel="false-positive rate", ylabel="true-positive rate", ylim=(-0.02, 1.02))
    predicted, found, weight = reliability(p, success)
    trust.plot([0, 1], [0, 1], color="grey", linestyle=":")
    trust.plot(predicted, found, color=INK)
    trust.scatter(predicted, found, 20 + 300 * weight, color=INK)
    trust.set(title=f"reliability, temperature {calibration.temperature:.2f}", xlabel="p", ylabel="share that shows success")
    for axis in (hist, roc):
        axis.legend(frameon=False, fontsize="small")
    for axis in (hist, roc, trust):
        axis.grid(alpha=0.25)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def mistakes(path: Path, classifier: Classifier, held: Labelled, scores: Scores, calibration: Calibration) -> Path | None:
    """The failures that look most like success and, below, the successes that look least like it, those that the threshold gets wrong
    framed in red; None without cameras."""
    cameras = classifier.seen.cameras
    if not cameras:
        return None
    p = probability(classifier, scores.logits, calibration.temperature)
    leaves = classifier.look(held.observation)
    images = [leaves[camera.name] if camera.name else leaves for camera in cameras]

    def tile(row: int) -> Tile:
        picture = side_by_side([pixels[row][-1] if pixels[row].ndim == 4 else pixels[row] for pixels in images])
        wrong = (p[row] >= calibration.threshold) != held.success[row]
        place = int(row - np.flatnonzero(held.episode == held.episode[row])[0])
        shown = "success" if held.success[row] else "failure"
        return Tile(picture, f"{shown}, p {p[row]:.4f}, ep {held.episode[row]} step {place}", BAD if wrong else GOOD)

    order = np.argsort(-p)
    failures, successes = order[~held.success[order]][:WORST], order[held.success[order]][::-1][:WORST]
    return save(path, sheet([[tile(int(row)) for row in rows] for rows in (failures, successes)], SIZE))


def table(about: Mapping[str, Any], calibration: Calibration) -> str:
    """What was measured, as lines."""
    found = about["measured"]

    def share(name: str) -> str:
        value, low, high, count = found[name]
        return f"{value:.4f} ({low:.4f} to {high:.4f}; {count})"

    area, low, high = found["auc"]
    rows = {
        "trained on": f"{about['frames'][0]} frames of success, {about['frames'][1]} of failure",
        "held out": f"{about['held_out']} of {about['episodes']} episodes, {found['frames']} frames",
        "accuracy": share("accuracy"),
        "false positives": share("false_positive_rate"),
        "false negatives": share("false_negative_rate"),
        "episodes with a false success": share("episodes_with_a_false_success"),
        "successful episodes missed": share("successful_episodes_missed"),
        "area under the ROC": f"{area:.4f} ({low:.4f} to {high:.4f})",
        "calibration error": f"{found['calibration_error']:.4f}",
        "threshold": f"{calibration.threshold:.4f}, at temperature {calibration.temperature:.2f}",
    }
    if not found["fair"]:
        rows["beware"] = "the threshold is judged by frames that chose it: too few episodes are held out"
    return "\n".join(f"{name:<30} {value}" for name, value in rows.items())

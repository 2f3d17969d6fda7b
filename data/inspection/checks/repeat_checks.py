"""Checks for episodes that are there more than once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..episode_facts import START_ROWS, EpisodeFacts, Fault
from ..findings import Severity
from ..survey import Survey

NEAR = 1e-3  # of the spread between episodes, in nine of ten numbers of their signatures
WINDOW = 20  # neighbours compared along the sorted projection


def duplicates(survey: Survey) -> Iterator[Fault]:
    """Each row of two episodes is the same, bit for bit; or one is the beginning of the other."""
    whole: dict[bytes, EpisodeFacts] = {}
    starts: dict[bytes, EpisodeFacts] = {}
    for facts in survey.facts:
        if facts.digest in whole:
            what = f"The episode is the same, bit for bit, as {named(whole[facts.digest], facts)}."
            yield Fault(Severity.HARMS, what, "Drop it (--fix does): it counts twice, and makes a held-out copy meaningless.", 0, facts)
            continue
        whole[facts.digest] = facts
        if facts.start_digest and facts.start_digest in starts:
            other = starts[facts.start_digest]
            what = f"The first {START_ROWS} steps are the same, bit for bit, as those of {named(other, facts)}."
            yield Fault(Severity.HARMS, what, "Keep the longer one: it is one recording, stored twice.", 0, facts)
        elif facts.start_digest:
            starts[facts.start_digest] = facts


def near_duplicates(survey: Survey) -> Iterator[Fault]:
    """Two episodes of one length differ by a thousandth of what episodes differ by."""
    signatures = np.nan_to_num(np.stack([facts.signature for facts in survey.facts]).astype(np.float64), posinf=0, neginf=0)
    if len(signatures) < 3:
        return
    spread = signatures.std(axis=0)
    scaled = signatures[:, spread > 0] / spread[spread > 0]
    if not scaled.shape[1]:
        return
    order = np.argsort(scaled @ np.random.default_rng(0).normal(size=scaled.shape[1]))
    for place, index in enumerate(order):
        for other in order[place + 1 : place + 1 + WINDOW]:
            a, b = survey.facts[min(index, other)], survey.facts[max(index, other)]
            near = np.quantile(np.abs(scaled[index] - scaled[other]), 0.9) < NEAR
            if near and a.length == b.length and a.digest != b.digest and (not a.start_digest or a.start_digest != b.start_digest):
                what = f"The episode is nearly the same as {named(a, b)}: they differ by less than a thousandth of what others do."
                yield Fault(
                    Severity.HARMS, what, "Keep one of them: it looks like one recording, stored twice with rounding or noise.", 0, b
                )


def named(facts: EpisodeFacts, beside: EpisodeFacts) -> str:
    """An episode as one says it beside another."""
    return f"episode {facts.number}" + ("" if facts.file == beside.file else f" of {facts.file}")

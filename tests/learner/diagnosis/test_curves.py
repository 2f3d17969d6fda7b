"""Curves are legible: one point, few points, curves that coincide, names of any kind; the legend covers nothing."""

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from warmloop.learner.diagnosis import curves
from warmloop.learner.diagnosis.plot import STEPS, run_figure, warm_up_figure


def pixels(figure) -> np.ndarray:
    """The picture `[H, W, 3]`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def of_colour(picture: np.ndarray, colour: str) -> int:
    """How many pixels are as good as of a colour."""
    wanted = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)])
    return int(np.all(np.abs(picture - wanted) < 14, axis=-1).sum())


def drawn(*lines, limits=(0.0, 1.06)):
    with curves.drawing():
        figure, (axis,) = curves.panels([3.0])
        axis.set(ylim=limits)
        for number, points in enumerate(lines):
            curves.line(axis, points, f"curve {number}", **curves.series(number))
        curves.finish(axis)
        return figure, axis, pixels(figure)


@pytest.mark.parametrize("count", [1, 2, 5, 300])
def test_a_curve_of_any_number_of_points_is_seen_and_has_markers(count):
    _, axis, picture = drawn([(step, 0.5) for step in range(count)])
    assert of_colour(picture[60:], curves.SERIES[0]) > 15  # below the legend
    markers = len(range(count)[slice(0, None, 1)]) if count <= curves.ALL_MARKED else curves.SOME_MARKED
    every: Any = axis.lines[0].get_markevery()
    shown = count if every == 1 else len(range(every[0], count, every[1]))
    assert 1 <= shown <= max(markers, curves.SOME_MARKED)


@pytest.mark.parametrize("many", [2, 3, 5])
def test_curves_that_coincide_are_each_seen_and_stay_at_their_values(many):
    same = [(step, min(step / 50, 1.0)) for step in range(100)]
    _, axis, picture = drawn(*[same] * many)
    assert all(of_colour(picture[60:], curves.SERIES[number]) > 150 for number in range(many))
    sizes = [line.get_markersize() for line in axis.lines]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == 4.5 and sizes[0] < 11
    for line in axis.lines:
        assert (line.get_transform() == axis.transData) and np.allclose(line.get_ydata(), [value for _, value in same])


def test_the_curves_of_a_run_that_coincide_are_each_seen_whichever_is_drawn_last():
    names = ("evaluation/success_rate", "actor/success_rate", "best/success_rate")
    records = [{"environment_steps": 100 * n, "updates": n} | dict.fromkeys(names, min(n / 10, 1.0)) for n in range(30)]
    with curves.drawing():
        picture = pixels(run_figure(records, returns=False))
    assert all(of_colour(picture[60:], colour) > 150 for colour in (curves.INK, curves.TRAINED, curves.BEST))


@pytest.mark.parametrize("shift", [0, 1, 2, 3, 5, 8, 13])
def test_curves_that_begin_at_different_places_do_not_hide_each_other(shift):
    flat = [(step / 4, 0.5) for step in range(200)]
    _, _, picture = drawn(flat, flat[shift:], flat[2 * shift :])
    assert all(of_colour(picture[60:], curves.SERIES[number]) > 150 for number in range(3))


@pytest.mark.parametrize("count", [26, 30, 45, 100, 1000])
def test_markers_of_curves_that_coincide_stand_at_other_points(count):
    _, axis, _ = drawn(*[[(step, 0.5) for step in range(count)]] * 3)
    marked = [range(*line.get_markevery()[:1], count, line.get_markevery()[1]) for line in axis.lines]  # type: ignore[index]
    assert not set(marked[0]) & set(marked[1]) and not set(marked[1]) & set(marked[2]) and not set(marked[0]) & set(marked[2])


def test_a_run_with_one_record_is_drawn_from_its_beginning():
    with curves.drawing():
        figure = run_figure([{"environment_steps": 100, "updates": 100, "actor/success_rate": 0.4}], returns=False)
    low, high = figure.axes[-1].get_xlim()
    assert low <= 0 and 100 < high < 120
    with curves.drawing():
        figure = warm_up_figure([{"updates": 300, "critic/q_mean": 0.4}], None, columns=5)
    assert figure.axes[0].get_xlim()[0] <= 0


def test_panels_of_one_axis_of_which_one_alone_has_a_single_point_show_all_points():
    with curves.drawing():
        _, axes = curves.panels([2.0, 1.0])
        curves.line(axes[0], [(100, 0.4), (900, 0.5)], "many", curves.INK)
        curves.line(axes[1], [(100, 0.4)], "one", curves.INK)
        curves.from_the_beginning(axes)
    assert axes[0].get_xlim()[1] > 900


@pytest.mark.parametrize(
    ("recorded", "titles"),
    [
        ({"critic/loss": 1.0, "actor/loss": 2.0, "actor/copied_share": 0.5}, ["actor/loss", "critic/loss"]),
        ({"critic/q_mean": 1.0, "critic/loss": 1.0}, ["mean Q"]),
        ({"critic/q_mean": 1.0, "heldout/action_error": 0.1}, ["held-out action error"]),
    ],
)
def test_no_panel_of_a_warm_up_is_empty_whatever_its_agent_records(recorded, titles):
    with curves.drawing():
        figure = warm_up_figure([{"updates": 100} | recorded], None, columns=5)
    shown = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title() for axis in shown] == titles and all(axis.lines for axis in shown)


def test_curves_apart_stay_where_they_are():
    _, axis, _ = drawn([(step, 0.2) for step in range(30)], [(step, 0.8) for step in range(30)], [(99, 0.2)])
    assert len({line.get_transform().transform((0, 0.5))[1] for line in axis.lines}) == 1


@pytest.mark.parametrize("count", [1, 4, 11])
def test_a_legend_lies_above_its_panel_however_long_it_is_and_within_the_picture(count):
    _, axis, picture = drawn(*[[(0, 1.0), (1, 1.0)]] * count)
    shown: Any = axis.get_legend()
    legend, panel = shown.get_window_extent(), axis.get_window_extent()
    assert legend.y0 >= panel.y1 - 1 and legend.y1 <= picture.shape[0] + 1
    assert panel.height > 150


def test_each_of_28_curves_has_a_look_of_its_own_and_four_have_one_without_colour():
    looks = [tuple(curves.series(number).values()) for number in range(28)]
    assert len(set(looks)) == 28
    assert len({look[1:] for look in looks[:4]}) == 4


NAMES = ["$\\frac{", "_hidden", "<script>alert(1)</script>", "a&b]]>", "名前", 'id="x" url(#p) #0072b2']


def records(name):
    return [{"environment_steps": step, "updates": step, "time": step, f"actor/success_rate/{name}": 0.5} for step in range(0, 50, 10)]


@pytest.mark.parametrize("name", NAMES)
def test_a_tasks_name_is_text_in_the_legend_whatever_is_in_it(name, tmp_path):
    with curves.drawing():
        figure = run_figure(records(name), returns=False, clock=STEPS)
        assert curves.png(figure, tmp_path / "curves.png").stat().st_size > 1000
    drawing = ElementTree.fromstring(f"<x xmlns:xlink='http://www.w3.org/1999/xlink'>{curves.svg(figure, 'one', name)}</x>")
    texts = ["".join(element.itertext()).strip("\u200b \n") for element in drawing.iter() if element.tag.endswith("text")]
    assert name in texts
    assert not [element for element in drawing.iter() if element.tag.endswith("script")]


def test_an_inline_picture_has_ids_of_its_own_colours_of_the_page_and_names_nothing_outside():
    figure, _, _ = drawn([(0, 0.1), (1, 0.9)], [(0, 0.5), (1, 0.2)])
    shown = curves.svg(figure, "one", "two curves")
    ids = re.findall(r'\bid="([^"]*)"', shown)
    assert ids and len(ids) == len(set(ids)) and all(one.startswith("one-") for one in ids)
    assert set(re.findall(r'(?:url\(|href=")#([^")]*)', shown)) <= set(ids)
    assert not re.search(r'(href|src)="(?!#)|@import|<metadata|<!--', shown)
    used = set(re.findall(r"var\((--curve-[a-z0-9-]*)\)", shown))
    assert {"--curve-series-0", "--curve-series-1"} <= used <= set(re.findall(r"(--curve-[a-z0-9-]*):", curves.colours()))
    assert shown == curves.svg(figure, "one", "two curves"), "the same curves are the same text"

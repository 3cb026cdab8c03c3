"""Curves side by side, whose title is seen whole however few they are."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from vitlab.pictures.curves import curves_figure


@pytest.mark.parametrize("number", [1, 2, 5, 15])
def test_the_title_is_seen_whole(number):
    curves = {f"change_{index}": (["1", "2"], [0.5, 0.4]) for index in range(number)}
    figure = curves_figure(curves, 0.612, "Accuracy by severity; mean corruption error 63.7 %")
    FigureCanvasAgg(figure).draw()
    (title,) = [text for text in figure.texts if "mean corruption error" in text.get_text()]
    box = title.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width

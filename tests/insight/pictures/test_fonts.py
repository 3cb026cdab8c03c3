"""No letter becomes a box: a font is found that has it, or its number is written."""

import warnings

import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from vitlab.objectives.per_class import of_each_class
from vitlab.pictures import fonts
from vitlab.pictures.figures import confusion_figure
from vitlab.pictures.fonts import DEJAVU, font_file, legible
from vitlab.pictures.per_class import per_class_figure
from vitlab.pictures.sheets import Row, Text, sheet

ROSE = "\u73ab\u7470"  # two letters that DejaVu has not


@pytest.fixture
def east_asian(tmp_path):
    """A font with nothing but a filled square for each of ROSE's letters, and dots."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(point)
    pen.closePath()
    names = {ord(letter): f"letter{index}" for index, letter in enumerate(ROSE + fonts.ADDED)}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    builder.setupGlyf({name: pen.glyph() for name in [".notdef", *names.values()]})
    builder.setupHorizontalMetrics({name: (1000, 0) for name in [".notdef", *names.values()]})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "East", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "East-Regular.ttf")
    return str(tmp_path / "East-Regular.ttf")


def test_the_font_that_has_all_letters_writes_the_words(east_asian):
    assert font_file("G\u00e4nsebl\u00fcmchen \u00d7 \u00df", (east_asian,)) == DEJAVU
    assert font_file(ROSE, (DEJAVU, east_asian)) == east_asian and legible(ROSE, (east_asian,)) == ROSE
    assert font_file(f"{ROSE} 3", (east_asian,)) is None  # it has no digits


def test_letters_that_no_font_has_are_written_as_numbers_and_a_file_that_is_no_font_is_passed_over(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert legible(f"{ROSE} 3 \u00fc", (str(tmp_path / "broken.ttf"),)) == "\\u73ab\\u7470 3 \u00fc"


def test_a_sheet_says_once_that_numbers_stand_for_letters(monkeypatch):
    monkeypatch.setattr(fonts, "installed", tuple)
    fonts.font_file.cache_clear()
    cell = np.full((40, 40, 3), 90, np.uint8)
    note = Text("Letters that no font on this machine has are written as their Unicode numbers.")
    drawn = sheet([Row([cell], [Text(ROSE)])], [[Text(ROSE)]], ROSE, [Text("scores")])
    by_hand = "\\u73ab\\u7470"
    expected = sheet([Row([cell], [Text(by_hand)])], [[Text(by_hand)]], by_hand, [Text("scores"), note])
    fonts.font_file.cache_clear()
    np.testing.assert_array_equal(drawn, expected)


def test_figures_of_results_write_any_class_name_without_a_missing_letter(tmp_path):
    names = ("ash", ROSE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns of a letter that its font lacks
        for figure in (
            confusion_figure(torch.arange(2), torch.arange(2), names),
            per_class_figure(of_each_class(torch.eye(2), torch.arange(2)), names),
        ):
            figure.savefig(tmp_path / "figure.png")

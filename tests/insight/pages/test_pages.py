"""Pages hold everything they need, run nothing that a stranger wrote, and do in a browser what they say."""

import re
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from vitlab.data.preprocessing import Preprocessing
from vitlab.gallery.explained_photograph import look_at_photograph
from vitlab.gallery.folder_index import Entry, folder_index
from vitlab.gallery.inspection import MosaicSample, Sample, look_through
from vitlab.gallery.inspection_page import inspection_page
from vitlab.gallery.photograph import photograph_page
from vitlab.insight.attention.maps import attention_maps
from vitlab.insight.honesty.ground_truth import mosaics
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.pictures.drawing import colours, in_uniform
from vitlab.predictor import Predictor

HOSTILE = '"><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"></script>&amp;$data'
FACTS = Preprocessing((40, 40), (32, 32), 3, "bicubic", mean=(0.5,) * 3, std=(0.25,) * 3)


def small_vit(seed=0):
    torch.manual_seed(seed)
    embed = LinearPatchEmbed(8, 3, 24)
    model = VisionTransformer(
        embed, image_size=32, num_classes=3, embed_dim=24, depth=2, num_heads=3, reg_tokens=1
    )
    for block in model.blocks:
        block.attn.qkv.weight.data *= 20  # so that attention is far from uniform
    return model.eval()


@pytest.fixture(scope="module")
def photographed(tmp_path_factory):
    """A page on a hostile file name, beside the attention that it should show."""
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)).save(file)
    model = small_vit()
    predictor = Predictor(model, ["ash", HOSTILE, "cedar"], FACTS, device="cpu")
    image = predictor.prepare([predictor.read(file)])
    (answer,) = predictor.classify([file], top_k=3)
    look = look_at_photograph(model, file, HOSTILE, image, FACTS, answer, ["rollout", "relevance"])
    page = file.with_name("page.html")
    page.write_text(photograph_page(look, HOSTILE), encoding="utf-8")
    return page, attention_maps(model, image), look


@pytest.fixture(scope="module")
def indexed(photographed):
    """The page of a folder whose one photograph, with a name like that, has this very page."""
    page, _, look = photographed
    index = page.with_name("index.html")
    entry = Entry.of(look, HOSTILE, f"explained/{HOSTILE}.html")
    index.write_text(folder_index(HOSTILE, HOSTILE, [entry], [HOSTILE]), encoding="utf-8")
    return index


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    images, labels = torch.randn(6, 3, 32, 32), torch.arange(6) % 3
    pictures = [np.full((32, 32, 3), 90, dtype=np.uint8)] * 6
    sample = Sample(images, labels, pictures[:3])
    played = MosaicSample(mosaics(images, labels), pictures[:2])
    page = tmp_path_factory.mktemp("report") / "report.html"
    page.write_text(report_of(sample, played), encoding="utf-8")
    return page


def report_of(sample, played):
    names = ["ash", HOSTILE, "cedar"]
    report = look_through(
        small_vit(), small_vit(1), sample, sample, played, names, ["rollout", "relevance"], HOSTILE
    )
    return inspection_page(report, HOSTILE, {"model": HOSTILE})


def test_the_report_says_how_often_a_map_points_into_its_quarter_or_why_nobody_asked(reported):
    text = reported.read_text(encoding="utf-8")
    assert (
        "points into the quarter (25% by chance)" in text and "6 mosaics" in text and 'id="mosaics"' in text
    )
    images, labels = torch.randn(2, 3, 32, 32), torch.zeros(2, dtype=torch.long)
    sample = Sample(images, labels, [np.full((32, 32, 3), 90, dtype=np.uint8)])
    without = report_of(sample, HOSTILE)
    assert "left out: &quot;&gt;&lt;script&gt;window" in without
    assert "points into the quarter" not in without and 'id="mosaics"' not in without


def test_pages_refer_to_nothing_outside_and_keep_hostile_names_as_words(photographed, reported, indexed):
    for page in (photographed[0], reported, indexed):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"https?://|//[a-z]|@import|\burl\(", re.sub(r"[A-Za-z0-9+/=]{40,}", "", text))
        references = re.findall(r'\b(?:src|href)\s*=\s*"([^"]*)"', text)
        assert references and all(
            address.startswith(("data:image/", "#", "explained/%22")) for address in references
        )
        assert "<script>window" not in text and "<img src=x" not in text
        assert text.count("<script") == text.count("</script") == 2


@pytest.mark.parametrize(
    ("caption", "high"), [("Entropy", 1.0), ("Distance", 32.0), ("Largest attention logit", 50.0)]
)
def test_a_numbers_shade_in_the_report_depends_on_that_number_alone(reported, caption, high):
    (table,) = re.findall(rf"<caption>{caption}.*?</table>", reported.read_text(encoding="utf-8"))
    cells = re.findall(r'<td class="h(\d)">(-?[\d.]+)</td>', table)
    assert len(cells) == 2 * 3
    for shade, value in cells:
        assert int(shade) == pytest.approx(min(9 * float(value) / high, 9) - 0.5, abs=0.55)


def opened(browser, page):
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(page)
    while browser.evaluate("document.getElementById('said')?.textContent") == "":
        browser.settle()  # attention is being unpacked
    return browser


def box_of(browser, selector):
    rectangle = f"document.querySelector({selector!r}).getBoundingClientRect()"
    return browser.evaluate(f"(() => {{ const r = {rectangle}; return [r.x, r.y, r.width, r.height]; }})()")


def point_at_patch(browser, row, column, action="mouse"):
    """Points at the middle of a patch: 4 x 4 of them lie on what the model sees, the middle square of a
    picture of 500 x 300."""
    x, y, width, height = box_of(browser, "#stage")
    place = x + width * (100 + 300 * (column + 0.5) / 4) / 500, y + height * (row + 0.5) / 4
    browser.click(*place) if action == "click" else browser.mouse("mouseMoved", *place)


def strongest(maps, layer, query, head=None):
    """What the page should name: the patch that gets most, by row and column from 1, and how many times its
    equal share; and all shares."""
    attention = (
        maps.maps[layer, 0, :, query].mean(dim=0) if head is None else maps.maps[layer, 0, head, query]
    )
    patches = attention[maps.layout.num_prefix_tokens :] * maps.layout.num_tokens
    best = int(patches.argmax())
    return (best // 4 + 1, best % 4 + 1, pytest.approx(float(patches[best]), abs=0.1)), attention


def named(browser):
    """What the page names as the patch that gets most."""
    found = re.search(r"most on row (\d+), column (\d+), ([\d.]+) × uniform", said(browser))
    return int(found[1]), int(found[2]), float(found[3])


def said(browser):
    return browser.evaluate("document.getElementById('said').textContent")


def choose(browser, view):
    browser.evaluate(f"document.querySelector('#views input[value=\"{view}\"]').click()")
    browser.settle()


def test_the_page_opens_on_the_first_method_in_the_smallest_range_that_holds_its_map(browser, photographed):
    page, _, look = photographed
    heat = in_uniform(look.findings["rollout"].heat[None])[0]
    browser = opened(browser, page)
    assert "rollout shows the same map whichever class is asked for" in said(browser)
    high = min(high for high in (2, 4, 8, 16) if high >= heat.max())
    told = (
        f"Colours end at {high} × uniform: the smallest of 2, 4, 8, 16 that holds this map's largest value,"
        f" {heat.max():.1f} ×."
    )
    assert browser.evaluate("document.getElementById('ranged').textContent") == told
    row, column = divmod(
        int(heat.argmax()), 4
    )  # the map alone: the middle of its hottest patch has this range's colour
    place = f"width * (100 + 300 * ({column} + 0.5) / 4) / 500, height * ({row} + 0.5) / 4"
    browser.evaluate("var alone = document.getElementById('map'), width = alone.width, height = alone.height")
    pixel = browser.evaluate(f"[...alone.getContext('2d').getImageData({place}, 1, 1).data]")
    assert (
        pixel[:3] == pytest.approx(colours(heat.max().reshape(1, 1), high)[0, 0].tolist(), abs=3)
        and pixel[3] == 255
    )
    point_at_patch(browser, 1, 1)
    assert "From the patch" in said(browser)
    browser.mouse("mouseMoved", 2, 2)
    assert "rollout shows" in said(browser)


def test_on_a_phone_a_wide_table_says_that_it_scrolls_until_its_end_is_reached(browser, reported):
    browser.ask("Emulation.setDeviceMetricsOverride", width=400, height=900, deviceScaleFactor=1, mobile=True)
    try:
        browser.open(reported)
        table = "document.querySelector('#trust .scroll')"
        assert browser.evaluate(f"{table}.className") == "scroll wide more"
        hint = browser.evaluate(f"getComputedStyle({table}, '::before').content")
        assert "scroll sideways" in hint
        browser.evaluate(f"{table}.scrollLeft = 10000")
        browser.settle()
        assert browser.evaluate(f"{table}.className") == "scroll wide"
    finally:
        browser.ask("Emulation.clearDeviceMetricsOverride")


def test_in_the_dark_corners_of_pictures_show_the_page_behind_them(browser, photographed, reported):
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    try:
        for page, selector in ((photographed[0], "#photo"), (reported, "section img")):
            opened(browser, page).evaluate(f"document.querySelector({selector!r}).scrollIntoView()")
            browser.settle()
            x, y, *_ = (round(side) for side in box_of(browser, selector))
            with Image.open(BytesIO(browser.screenshot())) as screen:
                assert screen.convert("RGB").getpixel((x, y)) == pytest.approx(
                    (0x1D, 0x1B, 0x19), abs=30
                )  # the card's --card
    finally:
        browser.ask("Emulation.setEmulatedMedia", features=[])


def test_pointing_at_a_patch_shows_the_models_own_attention_from_there(browser, photographed):
    page, maps, _ = photographed
    browser = opened(browser, page)
    choose(browser, "attention")
    expected, attention = strongest(maps, layer=1, query=0)
    assert "From the class token, layer 2, mean of the heads" in said(browser) and named(browser) == expected
    masses = [float(value) / 100 for value in re.findall(r"([\d.]+) %", said(browser))]
    assert masses == pytest.approx(attention[:2].tolist(), abs=0.003)

    pixels = "document.getElementById('veil').getContext('2d').getImageData(0, 0, 400, 300).data.join()"
    before = browser.evaluate(pixels)
    point_at_patch(browser, 2, 1)
    expected, _ = strongest(maps, layer=1, query=2 + 2 * 4 + 1)
    assert "From the patch in row 3, column 2" in said(browser) and named(browser) == expected
    assert browser.evaluate(pixels) != before

    point_at_patch(browser, 0, 3, "click")  # held, while the pointer goes to the small maps
    browser.evaluate("document.getElementById('mosaic').scrollIntoView()")
    x, y, width, height = box_of(browser, "#mosaic")
    browser.click(x + width * 0.5, y + height * 0.2)
    expected, _ = strongest(maps, layer=0, query=2 + 3, head=1)
    assert (
        "From the patch in row 1, column 4, layer 1, head 2" in said(browser) and named(browser) == expected
    )
    browser.evaluate("document.getElementById('stage').focus()")
    browser.key("ArrowDown")
    assert "From the patch in row 2, column 4, layer 1, head 2" in said(browser)
    browser.key("Escape")
    assert "From the class token" in said(browser)
    choose(browser, "method:relevance")
    assert "relevance shows what spoke for" in said(browser)
    assert (
        browser.evaluate(
            "document.getElementById('veil').getContext('2d').getImageData(2, 150, 1, 1).data[3]"
        )
        > 100
    )  # hatched


def test_a_browser_loads_nothing_runs_nothing_hostile_and_has_no_complaint(
    browser, photographed, reported, indexed
):
    for page in (photographed[0], reported, indexed):
        browser = opened(browser, page)
        assert browser.evaluate("document.title").split() == HOSTILE.split()
        assert browser.evaluate("typeof window.hacked") == "undefined"
        assert browser.evaluate(
            "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
        )
        assert browser.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        assert not browser.complaints
        assert (
            all(url.startswith("data:image/") or url == page.resolve().as_uri() for url in browser.requests)
            and browser.requests
        )

"""A page on one photograph: point at a patch and see where every layer and head looks from there."""

import zlib
from pathlib import Path

import torch

from vitlab.gallery.explained_photograph import PhotographLook
from vitlab.insight.views.anatomy import READOUT, TokenLayout
from vitlab.pictures.drawing import FITTING_RANGES, UNIFORM_RANGE, colours, in_uniform
from vitlab.pictures.embedded import SMALL, photo_url
from vitlab.pictures.page import base64_text, fill, page
from vitlab.words import in_html

HERE = Path(__file__).parent


def _answers(answer: list[tuple[str, float]]) -> str:
    """Returns list items: a class's name, a bar and its probability."""
    bar = (
        '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="{:.2f}"'
        ' height="1"/></svg>'
    )
    return "".join(
        f'<li><span class="name">{in_html(name)}</span>{bar.format(100 * value)}<span'
        f' class="value">{value:.1%}</span></li>'
        for name, value in answer
    )


def _views(look: PhotographLook) -> str:
    names = {f"method:{name}": name for name in look.findings}
    names |= {"attention": "any layer and head", "none": "photograph alone"}
    radio = '<label><input type="radio" name="view" value="{}">{}</label>'
    return "".join(radio.format(in_html(value), in_html(name)) for value, name in names.items())


def _scores(look: PhotographLook) -> str:
    cells = []
    for name, finding in look.findings.items():
        score = finding.score
        verdict = '<span class="good">yes</span>' if score.beats_random else '<span class="warn">no</span>'
        numbers = (
            f"<td>{score.deletion:.3f}</td><td>{score.insertion:.3f}</td><td>{score.random:.3f} ±"
            f" {score.spread:.3f}</td>"
        )
        cells.append(f'<tr><th scope="row">{in_html(name)}</th>{numbers}<td>{verdict}</td></tr>')
    return "".join(cells)


def _words(look: PhotographLook, name: str) -> str:
    finding = look.findings[name]
    answer, score = look.answer[0][0], finding.score
    shows = "the same map whichever class is asked for"
    if finding.class_specific:
        shows = f"what spoke for “{answer}”"
    verdict = "better than random" if score.beats_random else "no better than random"
    return (
        f"{name} shows {shows}. Patches dropped in its order leave “{answer}” a mean probability of"
        f" {score.deletion:.3f}, dropped in a random order {score.random:.3f} ± {score.spread:.3f}: on this"
        f" picture it is {verdict}."
    )


def photograph_page(look: PhotographLook, model_name: str, index: str = "") -> str:
    """Returns the page, which opens on the first method. `model_name` says in words what looked at the
    photograph; `index` is the way to the page of all photographs, if there is one."""
    packed = look.attention
    layout: TokenLayout = packed.layout
    height, width = look.size
    edges = [edge / side for edge, side in zip(look.seen, (width, height, width, height), strict=True)]
    hidden = 1 - (edges[2] - edges[0]) * (edges[3] - edges[1])
    num_layers, num_heads, num_queries, _ = packed.levels.shape
    data = {
        "grid": list(layout.grid),
        "ranges": FITTING_RANGES,
        "prefix": layout.num_prefix_tokens,
        "classTokens": layout.num_class_tokens,
        "readout": READOUT[layout.pooling],
        "seen": edges,
        "layers": packed.layers,
        "heads": num_heads,
        "averaged": packed.averaged,
        "queries": num_queries,
        "levels": base64_text(zlib.compress(packed.levels.tobytes())),
        "scales": base64_text(packed.scales.astype("<f4").tobytes()),
        "colours": base64_text(colours(torch.linspace(0, UNIFORM_RANGE, 256)[None]).tobytes()),
        "methods": {
            f"method:{name}": in_uniform(one.heat[None]).flatten().tolist()
            for name, one in look.findings.items()
        },
        "words": {**{f"method:{name}": _words(look, name) for name in look.findings}, "none": ""},
    }
    patches = f"{layout.grid[0]} × {layout.grid[1]} patches"
    body = fill(
        HERE / "photograph.html",
        name=in_html(look.name),
        subtitle=in_html(f"{width} × {height} px · {num_layers} layers, {patches} · {model_name}"),
        photo=photo_url(look.shown),
        shape=("small" + " tall" * (height > width)) if max(look.shown.shape) <= SMALL else "",
        width=str(look.shown.shape[1]),
        height=str(look.shown.shape[0]),
        views=_views(look),
        ranges="".join(f'<option value="{high:g}">{high:g} × uniform</option>' for high in FITTING_RANGES),
        back=f'<p><a href="{in_html(index)}">← all photographs</a></p>' if index else "",
        answer=in_html(look.answer[0][0]),
        probability=f"{look.answer[0][1]:.1%}",
        hatching=f" The hatched {hidden:.0%} were never seen by the model." if hidden > 0.002 else "",
        readout=READOUT[layout.pooling],
        answers=_answers(list(look.answer)),
        left_out=" " + in_html(packed.left_out) if packed.left_out else "",
        scores=_scores(look),
    )
    return page(look.name, body, [HERE / "photograph.css"], HERE / "photograph.js", data)

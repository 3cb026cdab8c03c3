"""A page on a whole model: pictures, numbers by layer and head, and how far each method can be trusted."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from vitlab.gallery.conclusion import conclude
from vitlab.gallery.inspection import Inspection, Trust
from vitlab.gallery.mosaic_game import MosaicGame
from vitlab.insight.attention.stats import EXPLODED_LOGIT
from vitlab.insight.honesty.ground_truth import Pointing
from vitlab.pictures.embedded import picture_url
from vitlab.pictures.page import fill, page
from vitlab.words import in_html

HERE = Path(__file__).parent

STEPS = 9
"""Shades of a number's cell, from .h0 to .h8 in inspection.css."""


class Figure(NamedTuple):
    """A section with one picture: its tag, its heading, and what to look for in it."""

    tag: str
    heading: str
    words: str


GALLERY = (
    Figure(
        "attention/overview",
        "Where it looks",
        "One row for each image, every class in turn; in each cell the overlay lies above the map alone."
        " Colours count multiples of a patch's equal share, up to what is written above the column.",
    ),
    Figure(
        "mistakes",
        "Its most confident mistakes",
        "What spoke for the answer it gave, and what for the true class.",
    ),
    Figure(
        "mosaics",
        "Asked for one quarter of a mosaic",
        "Four photographs in one picture: a map that explains a class points into the red quarter, the only"
        " one of the class that is written above. A white frame marks the patch that it points at. Methods"
        " that know no class cannot be asked, and show what draws attention by itself.",
    ),
    Figure(
        "attention/heads", "Heads of the last layer", "What the head reads, attention head by attention head."
    ),
    Figure(
        "attention/layers_x_heads",
        "All layers and heads",
        "For the first image above. Early heads often look near by, late ones at the object.",
    ),
)

INNER = (
    Figure(
        "weights/patch_filters",
        "Patch filters",
        "What the first weights respond to: edges and colours once training has gone far, noise before.",
    ),
    Figure(
        "weights/position_similarity",
        "Position similarity",
        "Each small map belongs to one position. Neighbours are alike: learnt positions find the picture's"
        " plane, fixed ones bring it.",
    ),
    Figure(
        "features/pca",
        "Features",
        "The last block's patch tokens in three colours: patches of one colour are the same thing to the"
        " model.",
    ),
    Figure(
        "tokens/norm",
        "Length of the tokens",
        "A few patches far longer than the rest hold no picture any more, but notes of the model (Darcet et"
        " al. 2023).",
    ),
)


def _figures(inspection: Inspection, figures: tuple[Figure, ...]) -> str:
    parts = []
    for figure in figures:
        if figure.tag in inspection.pictures:
            picture = inspection.pictures[figure.tag]
            size = f'width="{picture.shape[1]}" height="{picture.shape[0]}"'
            image = f'<img src="{picture_url(picture)}" {size} alt="{in_html(figure.heading)}">'
            name = figure.tag.replace("/", "-")
            words = f'<h2>{in_html(figure.heading)}</h2><p class="faint">{in_html(figure.words)}</p>'
            body = f'{words}<div class="scroll">{image}</div>'
            parts.append(f'<section class="card" id="{name}">{body}</section>')
    return "".join(parts)


def _heat_table(values: Float[Tensor, "layers heads"], caption: str, high: float, digits: int) -> str:
    head = "".join(f'<th scope="col">head {index + 1}</th>' for index in range(values.shape[1]))
    rows = []
    for index, layer in enumerate(values.tolist()):
        cells = "".join(
            f'<td class="h{min(int(STEPS * max(value, 0) / high), STEPS - 1)}">{value:.{digits}f}</td>'
            for value in layer
        )
        rows.append(f'<tr><th scope="row">layer {index + 1}</th>{cells}</tr>')
    body = f"<caption>{in_html(caption)}</caption><thead><tr><th></th>{head}</tr></thead>"
    body += f"<tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table class="heat">{body}</table></div>'


def _stats(inspection: Inspection) -> str:
    stats = inspection.stats
    entropy = (
        "Entropy, as a share of that of uniform attention: near 1 looks everywhere, near 0 at one token."
    )
    distance = "Distance in pixels of the model's image, among patches: small heads are local."
    mass = "Attention of patches to the class token: heads near 1 are at rest."
    logit = f"Largest attention logit: beyond {EXPLODED_LOGIT:.0f} training tends to diverge."
    tables = [_heat_table(stats.entropy, entropy, 1.0, 2)]
    tables.append(_heat_table(stats.distance, distance, inspection.image_side, 1))
    if stats.class_mass.any():
        tables.append(_heat_table(stats.class_mass, mass, 1.0, 2))
    if stats.register_mass.any():
        tables.append(_heat_table(stats.register_mass, "Attention of patches to registers.", 1.0, 2))
    tables.append(_heat_table(stats.max_logit, logit, EXPLODED_LOGIT, 1))
    alarms = "".join(f'<p class="warn">{in_html(line)}</p>' for line in inspection.warnings)
    return f'{alarms}<div class="tables">{"".join(tables)}</div>'


def _gain(gain: float, error: float) -> str:
    colour = "good" if gain > 2 * error else "warn"
    return f'<span class="{colour}">{gain:+.3f}</span> ± {error:.3f}'


def _points(pointing: Pointing) -> str:
    colour = "good" if pointing.beats_chance else "warn"
    return f'<span class="{colour}">{pointing.share:.0%}</span> ± {100 * pointing.error:.0f}'


def _trust_row(name: str, trust: Trust, game: MosaicGame | str) -> str:
    proof = trust.faithfulness
    verdict = '<span class="good">yes</span>' if proof.beats_random else '<span class="warn">no</span>'
    between = f"{trust.between_classes:.2f}" if trust.knows_class else "same for all classes"
    deletion = _gain(proof.deletion_gain, proof.deletion_gain_se)
    cells = [deletion, _gain(proof.insertion_gain, proof.insertion_gain_se), verdict]
    cells += [] if isinstance(game, str) else [_points(game.scores[name])]
    cells += [f"{trust.like_untrained:.2f}", f"{trust.specificity:.2f}", between]
    return f'<tr><th scope="row">{in_html(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _cascade(inspection: Inspection) -> str:
    stages = list(next(iter(inspection.trust.values())).cascade)
    head = "".join(f'<th scope="col">{in_html(stage)}</th>' for stage in stages)
    rows = []
    for name, trust in inspection.trust.items():
        cells = "".join(
            f'<td class="h{min(int(STEPS * abs(value)), STEPS - 1)}">{value:z.2f}</td>'
            for value in trust.cascade.values()
        )
        rows.append(f'<tr><th scope="row">{in_html(name)}</th>{cells}</tr>')
    return f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"


def _game(game: MosaicGame | str) -> tuple[str, str]:
    """Returns the column's title, and its words for the list under the table."""
    if isinstance(game, str):
        return "", f"<dt>mosaics</dt><dd>The pointing game on mosaics is left out: {in_html(game)}.</dd>"
    chance = f"{next(iter(game.scores.values())).chance:.0%}"
    words = (
        f"The pointing game (Böhle et al. 2021): {game.num_mosaics} mosaics of four photographs, each of"
        " which the model recognises by itself. A method is asked for the class of one quarter, and the share"
        " says how often the map's largest patch lies in that quarter, ± one standard error. A patch drawn at"
        f" random lies there in {chance} of the cases: that is the share of patches of which at least half is"
        " in the quarter, a little over 25% where the number of rows or columns is odd. The model's own first"
        f" answer to a mosaic is the class that was asked for in {game.recognised:.0%} of them; where that is"
        " well below 25%, it cannot tell photographs of half their size, and the shares say little."
    )
    title = f'<th scope="col">points into the quarter ({chance} by chance)</th>'
    return title, f"<dt>points into the quarter</dt><dd>{words}</dd>"


def inspection_page(inspection: Inspection, title: str, facts: Mapping[str, str]) -> str:
    """Returns the page; `facts` are what was looked at, in words."""
    proof = next(iter(inspection.trust.values())).faithfulness
    conclusion = conclude(inspection.trust)
    game_column, game_words = _game(inspection.game)
    body = fill(
        HERE / "inspection.html",
        title=in_html(title),
        conclusion=in_html(conclusion.sentence),
        reasons="".join(f"<li>{in_html(reason)}</li>" for reason in conclusion.reasons),
        facts="".join(f"<dt>{in_html(key)}</dt><dd>{in_html(value)}</dd>" for key, value in facts.items()),
        trust="".join(_trust_row(name, trust, inspection.game) for name, trust in inspection.trust.items()),
        game_column=game_column,
        game_words=game_words,
        random=f"{proof.random:.3f} ± {proof.random_se:.3f}",
        agreement=f"{proof.agreement_at_half:.0%}",
        cascade=_cascade(inspection),
        num_scored=str(inspection.num_scored),
        gallery=_figures(inspection, GALLERY),
        inner=_figures(inspection, INNER),
        stats=_stats(inspection),
    )
    return page(title, body, [HERE / "inspection.css"])

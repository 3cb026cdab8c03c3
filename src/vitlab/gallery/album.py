"""The pictures of a look into a model, each with the words that it needs to be read alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from vitlab.gallery.caption import AMONG_PATCHES, NO_BETTER, Caption
from vitlab.gallery.look import Look
from vitlab.gallery.prints import SIDE, Predictions, Prints
from vitlab.gallery.weight_pictures import feature_picture
from vitlab.insight.views.anatomy import READOUT
from vitlab.pictures.drawing import Picture, colours, fit, in_uniform, overlay, uniform_range
from vitlab.pictures.sheets import QUARTERS, Bar, Row, Text, sheet, uniform_bar

NORM_RANGE = 4.0
"""Multiples of the median norm that the colours span."""


def three_layers(num_layers: int) -> list[int]:
    """Returns the indices of the first, the middle and the last layer, fewer where there are fewer."""
    return sorted({0, (num_layers - 1) // 2, num_layers - 1})


ONE_BY_ONE = Text("Single heads are not judged: nobody has held them against a random order.")


def _whose(look: Look) -> Text:
    return Text(f"Attention is that of {READOUT[look.layout.pooling]}.")


def _elsewhere(look: Look, layer: int) -> list[Text]:
    words = Text(f"{look.mass_elsewhere()[layer]:.0%} on other tokens")
    return [words] if look.layout.num_prefix_tokens else []


def overview(look: Look, prints: Prints, caption: Caption) -> Picture:
    """Photograph, attention of three layers, rollout, relevance; if wrong, the true class's relevance."""
    said = Predictions.of(look, prints)
    wrong = ~said.right
    layers = three_layers(len(look.attention))
    columns = [[Text("photograph")]]
    for layer in layers:
        verdict = caption.verdict("attention" if layer == layers[-1] else "one layer")
        columns.append([Text(f"attention, layer {layer + 1}"), *_elsewhere(look, layer), verdict])
    columns.append([Text("rollout"), caption.verdict("rollout")])
    columns.append([Text("relevance"), Text("for what it said"), caption.verdict("relevance")])
    if wrong.any():
        columns.append([Text("relevance"), Text("for the true class"), caption.verdict("relevance")])
    heats = [look.among_patches()[layer] for layer in layers]
    heats += [in_uniform(look.heatmaps[name]) for name in ("rollout", "relevance")]
    of_true = in_uniform(look.relevance_of_true)
    ranges = [caption.range_of(heat, look.layout.grid) for heat in (*heats, of_true)]
    rows = []
    for index, picture in enumerate(prints.pictures):
        cells: list[Picture | None] = [picture]
        cells += [caption.cell(picture, heat[index], top) for heat, top in zip(heats, ranges, strict=False)]
        if wrong.any():
            cells.append(caption.cell(picture, of_true[index], ranges[-1]) if wrong[index] else None)
        rows.append(Row(cells, said.in_words(prints, index)))
    footer = [_whose(look), *map(Text, caption.notes)]
    bar = uniform_bar(ranges[0], AMONG_PATCHES)
    if caption.fitted:
        for column, top in zip(columns[1:], ranges, strict=False):
            column.append(Text(f"up to {top:g} ×"))
        bar = Bar(f"share of the column's range, which counts {AMONG_PATCHES}", 1.0, ticks=QUARTERS)
    return sheet(rows, columns, f"Where the model looks · {caption.moment}", footer, [bar])


def heads(look: Look, prints: Prints, caption: Caption, num_images: int = 4) -> Picture:
    """The last layer's attention, head by head."""
    said = Predictions.of(look, prints)
    heat = look.in_uniform()[-1]
    top = caption.range_of(heat, look.layout.grid)
    rows = []
    for index, picture in enumerate(prints.pictures[:num_images]):
        cells = [picture, *(caption.cell(picture, head, top) for head in heat[index])]
        rows.append(Row(cells, said.in_words(prints, index)))
    columns = [[Text("photograph")], *([Text(f"head {head + 1}")] for head in range(heat.shape[1]))]
    title, footer = f"The last layer's heads · {caption.moment}", [_whose(look), ONE_BY_ONE]
    return sheet(rows, columns, title, footer, [uniform_bar(top)])


def layers_and_heads(look: Look, prints: Prints, caption: Caption) -> Picture:
    """Every head of every layer for the first photograph."""
    heat = look.in_uniform()[:, 0]
    top = caption.range_of(heat, look.layout.grid)
    side = SIDE if heat.shape[1] <= 6 else SIDE // 2
    picture = fit(prints.pictures[0], side)
    rows = [
        Row([overlay(picture, head, top) for head in layer], [Text(f"layer {index + 1}")])
        for index, layer in enumerate(heat)
    ]
    columns = [[Text(f"head {head + 1}")] for head in range(heat.shape[1])]
    footer = [Text(f"On the first photograph (true: {prints.true[0]})."), _whose(look), ONE_BY_ONE]
    return sheet(rows, columns, f"Layers and heads · {caption.moment}", footer, [uniform_bar(top)])


def evolution_frame(look: Look, prints: Prints, caption: Caption, num_images: int = 4) -> Picture:
    """One moment of an animation: the same size whatever the model says."""
    said = Predictions.of(look, prints)
    top = uniform_range(look.layout.grid)
    methods = {"attention": "last layer", "rollout": "rollout", "relevance": "relevance"}
    heats = {name: in_uniform(look.heatmaps[name]) for name in methods}
    shown = prints.pictures[:num_images]
    titles = [[Text(words)] for words in prints.true[: len(shown)]]
    rows = [Row(shown, [Text("photograph")])]
    for name, words in methods.items():
        cells = [overlay(picture, heat, top) for picture, heat in zip(shown, heats[name], strict=False)]
        rows.append(Row(cells, [Text(words), caption.verdict(name)]))
    answers = zip(said.of_true[: len(shown)], said.right, strict=False)
    answers = ", ".join(f"{share:.0%}{'' if is_right else ' (wrong)'}" for share, is_right in answers)
    footer = [Text(f"probability of the true class: {answers}")]
    return sheet(rows, titles, caption.moment, footer, [uniform_bar(top, AMONG_PATCHES)], room_for=NO_BETTER)


def token_norms(
    norms: Float[Tensor, "layers batch tokens"], look: Look, prints: Prints, caption: Caption
) -> Picture:
    """Norms of the patch tokens after three layers; artefacts stand out by several times the median."""
    patches = look.layout.on_grid(norms)
    bar = Bar("times the layer's median norm", NORM_RANGE, ticks=(0, 1, 2, 3, 4), name="viridis")
    rows = [Row(prints.pictures, [Text("photograph")])]
    for layer in three_layers(len(norms)):
        heat = patches[layer] / patches[layer].median().clamp_min(1e-12)
        shares = [torch.from_numpy(colours(one, bar.high, bar.low, bar.name) / 255.0) for one in heat]
        cells = [feature_picture(each, prints.size) for each in shares]
        rows.append(Row(cells, [Text(f"layer {layer + 1}")]))
    titles = [[Text(words)] for words in prints.true]
    share = (patches[-1] > 3 * patches[-1].median()).double().mean()
    note = f"After the last layer {share:.1%} of the patch tokens are longer than three times the median."
    return sheet(rows, titles, f"Length of the tokens · {caption.moment}", [Text(note)], [bar])


def features(shares: Float[Tensor, "batch rows columns 3"], prints: Prints, caption: Caption) -> Picture:
    """Three principal components of the last block's patch tokens as red, green and blue."""
    rows = [Row(prints.pictures, [Text("photograph")])]
    rows.append(Row([feature_picture(share, prints.size) for share in shares], [Text("features")]))
    titles = [[Text(words)] for words in prints.true]
    note = (
        "The first three principal components of these patches' features as red, green, blue; signs and order"
        " follow the frame before."
    )
    return sheet(rows, titles, f"What the patches are to the model · {caption.moment}", [Text(note)])

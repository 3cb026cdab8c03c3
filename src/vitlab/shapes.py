"""The tensors of this project by name, checked in tests (jaxtyping and beartype), free in a run."""

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

Pixels = UInt8[Tensor, "batch channels height width"]
"""Stored images: 0 to 255."""

Images = Float[Tensor, "batch channels height width"]
"""What a model sees: normalised by the data's mean and standard deviation."""

Patches = Float[Tensor, "patches channels side side"]
"""Square cut-outs of images, each an image of its own."""

Tokens = Float[Tensor, "batch tokens embed_dim"]

ReadTokens = Float[Tensor, "batch read embed_dim"]
"""The first of the tokens, where no more of them are asked for, or all."""

AllTokens = Float[Tensor, "batch all_tokens embed_dim"]
"""Prefix tokens (class token, registers) and patch tokens, where a function has both kinds."""

Heads = Float[Tensor, "batch heads tokens head_dim"]
"""Queries, keys or values, split into heads."""

AttentionWeights = Float[Tensor, "batch heads tokens tokens"]
"""Probabilities of one layer: each query's row sums to 1."""

AttentionRows = Float[Tensor, "batch heads queries tokens"]
"""Probabilities of one layer for some of its queries."""

AttentionMap = Float[Tensor, "layers batch heads queries tokens"]
"""Probabilities of all layers."""

LayerHeads = Float[Tensor, "layers heads"]

LayerTokens = Float[Tensor, "layers batch tokens"]

Scores = Float[Tensor, "batch heads queries tokens"]
"""What the softmax of attention takes."""

KeptPatches = Int[Tensor, "batch kept"]
"""Indices of patches, row by row on the grid, where some were left out."""

Heatmap = Float[Tensor, "batch rows columns"]
"""A number for each patch of each image."""

Masks = Bool[Tensor, "batch height width"]
"""True where the object is, in pixels or in patches."""

PositionTable = Float[Tensor, "1 tokens embed_dim"]

ResizedPositionTable = Float[Tensor, "1 resized_tokens embed_dim"]

Features = Float[Tensor, "batch embed_dim"]

Logits = Float[Tensor, "batch classes"]

Labels = Int[Tensor, " batch"]
"""Class indices."""

ManyLabels = Int[Tensor, "batch labels"]
"""1 for each label that an image has, 0 for those that it has not."""

Numbers = Float[Tensor, "batch outputs"]
"""What a regression learns to say."""

Targets = Labels | ManyLabels | Numbers
"""What data says of its images: one class, several labels, or numbers."""

Outputs = Float[Tensor, "batch outputs"]
"""What a model says of each image, as its objective asks it: `objective.num_outputs` numbers."""

OfEachImage = Float[Tensor, " batch"]
"""A number for each image."""

SoftLabels = Float[Tensor, "batch classes"]
"""Class probabilities, as MixUp and CutMix make them."""

Loss = Float[Tensor, ""]

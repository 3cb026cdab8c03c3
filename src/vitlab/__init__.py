"""A laboratory for Vision Transformers: Lightning runs the training, Hydra composes the experiment,
TensorBoard shows it.

From Python, each name is imported when it is first used:

- `train`, `resume`, `load`, `compose`: what the command line does; `load` gives a `TrainedModel` that can
  predict, explain and evaluate;
- `explain`, `attention_maps`, `faithfulness`: look into any ViT of vitlab, timm or Hugging Face;
- `VisionTransformer`, `TrainingModule`, `ImageData`, `Classification`: the parts of a training of one's own;
- `Objective`, `Source`, `Samples`, `Augment`, `RunLogger`: what a package of one's own derives from.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitlab.data.augment.policy import Augment
    from vitlab.data.image_data import ImageData
    from vitlab.data.samples import Samples
    from vitlab.data.source import Source
    from vitlab.insight import attention_maps, explain, faithfulness
    from vitlab.lab import Trained, TrainedModel, compose, load, resume, train
    from vitlab.loggers.run_logger import RunLogger
    from vitlab.models.vit import VisionTransformer
    from vitlab.objectives.classification import Classification
    from vitlab.objectives.objective import Objective
    from vitlab.training.module import TrainingModule

__version__ = "0.1.0"

_HOMES = {
    "vitlab.data.augment.policy": ("Augment",),
    "vitlab.data.image_data": ("ImageData",),
    "vitlab.data.samples": ("Samples",),
    "vitlab.data.source": ("Source",),
    "vitlab.insight": ("attention_maps", "explain", "faithfulness"),
    "vitlab.lab": ("Trained", "TrainedModel", "compose", "load", "resume", "train"),
    "vitlab.loggers.run_logger": ("RunLogger",),
    "vitlab.models.vit": ("VisionTransformer",),
    "vitlab.objectives.classification": ("Classification",),
    "vitlab.objectives.objective": ("Objective",),
    "vitlab.training.module": ("TrainingModule",),
}

__all__ = [
    "Augment",
    "Classification",
    "ImageData",
    "Objective",
    "RunLogger",
    "Samples",
    "Source",
    "Trained",
    "TrainedModel",
    "TrainingModule",
    "VisionTransformer",
    "__version__",
    "attention_maps",
    "compose",
    "explain",
    "faithfulness",
    "load",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'vitlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

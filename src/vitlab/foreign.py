"""What a config may build of other libraries, by its documented name, and in which part of the config it may
stand.

Each name was looked at: it is a constructor that opens no file, imports nothing by name and calls no function
that a config could choose. What is missing from a library's list is under REFUSED, with the reason, or takes
what no config can hold (docs/decisions.md).
"""

from collections.abc import Mapping
from typing import Any

CALLBACKS = (
    *(
        "DeviceStatsMonitor",
        "EarlyStopping",
        "LearningRateMonitor",
        "ModelCheckpoint",
        "ModelSummary",
        "OnExceptionCheckpoint",
    ),
    *("RichModelSummary", "RichProgressBar", "TQDMProgressBar", "Timer"),
)

LOGGERS = ("CSVLogger", "TensorBoardLogger", "CometLogger", "MLFlowLogger", "WandbLogger")

TORCH_OPTIMIZERS = (
    *(
        "ASGD",
        "Adadelta",
        "Adafactor",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "NAdam",
        "RAdam",
        "RMSprop",
        "Rprop",
        "SGD",
    ),
)

TIMM_OPTIMIZERS = (
    *(
        "AdaBelief",
        "Adafactor",
        "AdafactorBigVision",
        "AdamP",
        "Adan",
        "Adopt",
        "Lamb",
        "LaProp",
        "Lars",
        "Lion",
        "MADGRAD",
        "Mars",
    ),
    *("NAdamW", "NvNovoGrad", "RMSpropTF", "SGDP", "SGDW"),
)

SCHEDULES = (
    *(
        "ConstantLR",
        "CosineAnnealingLR",
        "CosineAnnealingWarmRestarts",
        "CyclicLR",
        "ExponentialLR",
        "LinearLR",
    ),
    *("OneCycleLR", "PolynomialLR", "StepLR"),
)

TORCH_LOSSES = ("CrossEntropyLoss", "MultiMarginLoss")

TIMM_LOSSES = (
    "AsymmetricLossSingleLabel",
    "BinaryCrossEntropy",
    "LabelSmoothingCrossEntropy",
    "SoftTargetCrossEntropy",
)

FOREIGN: dict[str, str] = {
    f"{module}.{name}": place
    for module, names, place in (
        ("pytorch_lightning", ("Trainer",), "trainer"),
        ("pytorch_lightning.callbacks", CALLBACKS, "callbacks"),
        ("pytorch_lightning.loggers", LOGGERS, "logger"),
        ("torch.optim", TORCH_OPTIMIZERS, "optimizer"),
        ("timm.optim", TIMM_OPTIMIZERS, "optimizer"),
        ("torch.optim.lr_scheduler", SCHEDULES, "schedule"),
        ("torch.nn", TORCH_LOSSES, "objective"),
        ("timm.loss", TIMM_LOSSES, "objective"),
    )
    for name in names
}
"""The part of the config that a name may stand in, by name."""

GUARDED = ("trainer", "callbacks", "logger")
"""Parts of a config whose foreign names act on files or servers: nothing but a run builds them."""

WANDB, MLFLOW = "vitlab.loggers.wandb.Wandb", "vitlab.loggers.mlflow.MLflow"

SENDING = frozenset(
    (
        WANDB,
        MLFLOW,
        *(f"pytorch_lightning.loggers.{name}" for name in ("CometLogger", "MLFlowLogger", "WandbLogger")),
    )
)
"""Loggers that send to a server: a command may ask for them, and no stranger's record may."""


def sends(node: Mapping[str, Any]) -> bool:
    """Tells whether a logger's node sends by its own word; MLflow's default store is the user's."""
    target = node.get("_target_")
    if target == WANDB:
        return node.get("mode") not in ("offline", "disabled")
    return target in SENDING and (target != MLFLOW or node.get("tracking_uri") is not None)


TAKES_FUNCTIONS = "takes functions, which no config holds; a callback in a package of your own would work"
AVERAGES = "does not resume to the same bits; callbacks=[default,ema] averages the weights and does"
STEPS = "changes what the schedule has counted on; trainer.accumulate_grad_batches=N would work"

REFUSED = {
    "pytorch_lightning.callbacks.LambdaCallback": TAKES_FUNCTIONS,
    "pytorch_lightning.callbacks.ThroughputMonitor": (
        "takes functions, which no config holds; callbacks=[default] logs images a second"
    ),
    "pytorch_lightning.callbacks.EMAWeightAveraging": AVERAGES,
    "pytorch_lightning.callbacks.WeightAveraging": AVERAGES,
    "pytorch_lightning.callbacks.StochasticWeightAveraging": AVERAGES,
    "pytorch_lightning.callbacks.GradientAccumulationScheduler": STEPS,
    "pytorch_lightning.callbacks.BackboneFinetuning": (
        "freezes anew at a resume; optimizer.frozen and schedule.frozen_epochs do not"
    ),
    "pytorch_lightning.callbacks.ModelPruning": (
        "renames weights, so that no checkpoint would fit its own model"
    ),
    "pytorch_lightning.callbacks.BatchSizeFinder": (
        "trains on the side and changes the run; data.batch_size=N would work"
    ),
    "pytorch_lightning.callbacks.LearningRateFinder": (
        "trains on the side and changes the run; a sweep over optimizer.lr would work"
    ),
    "pytorch_lightning.callbacks.SpikeDetection": (
        "leaves batches out, and a resume knows no such order; callbacks.finite stops at a NaN"
    ),
    "pytorch_lightning.loggers.LitLogger": (
        "uploads files beside numbers; a logger in a package of your own would work"
    ),
    "torch.optim.LBFGS": "needs several passes a step; torch.optim.SGD would work",
    "torch.optim.SparseAdam": "takes sparse gradients alone; torch.optim.Adam would work",
    "torch.optim.Muon": "takes matrices alone; optimizer=muon gives the rest to AdamW",
    "timm.optim.Muon": "treats parameters by its own rules; optimizer=muon would work",
    "timm.optim.Lookahead": "wraps another optimizer; one alone would work",
    "timm.optim.Adahessian": "needs second derivatives; timm.optim.Lamb would work",
    "torch.optim.lr_scheduler.LambdaLR": (
        "takes a function, which no config holds; schedule=cosine, linear and constant would work"
    ),
    "torch.optim.lr_scheduler.MultiplicativeLR": (
        "takes a function, which no config holds; ExponentialLR would work"
    ),
    "torch.optim.lr_scheduler.MultiStepLR": (
        "keeps a Counter, which a checkpoint of plain data does not hold; StepLR would work"
    ),
    "torch.optim.lr_scheduler.ReduceLROnPlateau": (
        "follows a metric and not the step; schedule=cosine would work"
    ),
    "torch.optim.lr_scheduler.SequentialLR": (
        "takes other schedules; OneCycleLR or schedule=cosine would work"
    ),
    "torch.optim.lr_scheduler.ChainedScheduler": (
        "takes other schedules; OneCycleLR or schedule=cosine would work"
    ),
}
"""Documented names that are no targets, and why."""

EXTRAS = {"timm": "pip install 'vitlab[timm]'"}
"""How to install what vitlab itself does not need; a logger's own package Lightning names by itself."""


def why_refused(name: str) -> str | None:
    """Returns the reason why a documented name is no target, or None where nothing is known of it."""
    if name.startswith("lightning.pytorch."):
        here = name.replace("lightning.pytorch.", "pytorch_lightning.", 1)
        return (
            f"is of another package than the one that runs here; {here} would work"
            if here in FOREIGN
            else None
        )
    return REFUSED.get(name)

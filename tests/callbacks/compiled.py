"""python compiled.py FOLDER WAY...: trains a small ViT with the attention callback and without it, compiled
in each of these ways.

Prints as JSON what training could have noticed: each step's loss, the generator's state after it, compiled
graphs, hooks left behind.
"""

import hashlib
import json
import sys
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from vitlab import optim
from vitlab.callbacks.attention import AttentionPictures
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.digits import Digits
from vitlab.loggers.tensorboard import TensorBoard
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.objectives.classification import Classification
from vitlab.training.module import TrainingModule


class Steps(pl.Callback):
    def __init__(self):
        self.losses, self.states = [], hashlib.sha256()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]).hex())
        self.states.update(torch.get_rng_state().numpy().tobytes())


def compile_model(model, way):
    if way == "wrapped":
        return torch.compile(model, backend="eager")
    if way == "in place":
        model.compile(backend="eager")
    if way == "inductor":  # as compile=true of the config
        model.compile()
    if way == "by block":
        for block in model.blocks:
            block.compile(backend="eager")
    return model


def train(way, folder, callbacks):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch.manual_seed(0)
    rates = {"drop_path_rate": 0.2, "proj_drop_rate": 0.1}
    depth = 1 if way == "inductor" else 2  # each block is a dozen files of C++ to compile
    model = VisionTransformer(LinearPatchEmbed(2, 1, 16), 8, 10, 16, depth, 2, **rates)
    sgd = partial(
        optim.sgd, lr=0.1, weight_decay=0.0, momentum=0.9, nesterov=False, layer_decay=1.0, frozen=[]
    )
    shape = {
        "shape": "constant",
        "warmup_ratio": 0.0,
        "warmup_epochs": 0.0,
        "final_lr_ratio": 1.0,
        "frozen_epochs": 0,
        "unfrozen_lr_ratio": 1.0,
    }
    classifier = TrainingModule(
        compile_model(model, way),
        Classification(10, 0.0, "val/accuracy", "max"),
        sgd,
        partial(optim.warmup_schedule, **shape),
        0,
    )
    split = {"val_fraction": 0.1, "test_fraction": 0.2, "split_seed": 0, "mean": [0.3], "std": [0.38]}
    data = ImageData(Digits(), Augment(), 8, 1, 10, 64, 0, seed=0, **split)
    steps = Steps()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        limit_train_batches=5,
        limit_val_batches=1,
        logger=TensorBoard(str(folder)),
        callbacks=[steps, *callbacks],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
    )
    trainer.fit(classifier, datamodule=data)
    graphs = dict(torch._dynamo.utils.counters["stats"])
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    return {"losses": steps.losses, "generator": steps.states.hexdigest(), "graphs": graphs, "hooks": hooks}


def both(way, folder):
    pictures = AttentionPictures(str(folder / "with" / "figures"), num_shown=4, num_scored=16, seed=0)
    return {"with": train(way, folder / "with", [pictures]), "without": train(way, folder / "without", [])}


if __name__ == "__main__":
    print(json.dumps({way: both(way, Path(sys.argv[1]) / way) for way in sys.argv[2:]}))

"""Which patch embedding pays from scratch, at equal training time: linear, conv stem, ResNet of each patch,
ResNet of the whole image.

    python -m benchmarks.studies.patch_embeds flowers --root DIR --minutes 2 --seeds 0,1,2
    python -m benchmarks.studies.patch_embeds cifar10 --root DIR --minutes 2 --seeds 0,1,2

First the training steps of all arms are timed in turn, and each arm gets as many epochs as fit into the time;
then `vitlab train -m` trains each of them with every seed (an arm whose runs are there is not trained again),
and the table is printed. Everything but the patch embedding is the same: the recipes that flowers_vit and
cifar10_cpu had before Muon, the latter on 10,000 of its training images, with a plain MLP and without tuning
for one arm or another.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.machine import where
from benchmarks.timing import Contestant, interleave
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.resnet_embed import PatchResNet, ResNetStage
from vitlab.models.vit import VisionTransformer

ARMS = {
    "linear": ("patch_embed=linear", lambda p, d: LinearPatchEmbed(p, 3, d)),
    "conv_stem": ("patch_embed=conv_stem", lambda p, d: ConvStem(p, 3, d)),
    "conv_stem_deep": (
        "patch_embed=conv_stem_deep",
        lambda p, d: ConvStem(p, 3, d, stem_width=64, convs_per_stage=2),
    ),
    "patch_resnet": (
        "patch_embed=patch_resnet patch_embed.stem=imagenet",
        lambda p, d: PatchResNet(p, 3, d, "resnet18", 2, "imagenet", "group", None, 8192),
    ),
    "patch_resnet_small_stem": (
        "patch_embed=patch_resnet patch_embed.stages=1",
        lambda p, d: PatchResNet(p, 3, d, "resnet18", 1, "small", "group", None, 8192),
    ),
    "resnet_stage": (
        "patch_embed=resnet_stage patch_embed.stem=imagenet",
        lambda p, d: ResNetStage(p, 3, d, "resnet18", 2, "imagenet", "group"),
    ),
}
SHARED = "ffn=mlp trainer.check_val_every_n_epoch=1 hardware=cpu trainer.precision=bf16-mixed"
DATA = {
    # image size, patch size, batch, width, depth, heads, steps an epoch, what `vitlab train` is told
    "flowers": (
        *(64, 8, 64, 128, 5, 4, 44),
        (
            "experiment=flowers_vit data.image_size=64 data.eval_size=64 model.class_token=false"
            " model.global_pool=avg optimizer=adamw optimizer.lr=1.5e-3 augment.resized_crop=[0.5,1.0]"
            " augment.erasing=0 augment.mixup=0.2 augment.cutmix=0 augment.mix_prob=0.5"
        ),
    ),
    "cifar10": (
        *(32, 8, 128, 192, 6, 6, 78),
        (
            "experiment=cifar10_cpu data.verify=false data.val_fraction=0.8 trainer.limit_val_batches=10"
            " model.embed_dim=192 model.depth=6 model.num_heads=6 optimizer=adamw optimizer.lr=2e-3"
            " optimizer.weight_decay=0.05"
        ),
    ),
}


def make_step(name: str, data: str):
    size, patch, batch, width, depth, heads, _, _ = DATA[data]
    torch.manual_seed(0)
    embed = ARMS[name][1](patch, width)
    options = {"mlp_ratio": 2.0, "class_token": False, "global_pool": "avg", "pos_embed": "sincos_2d"}
    model = VisionTransformer(embed, size, 10, width, depth, heads, **options).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    images, labels = torch.randn(batch, 3, size, size), torch.randint(0, 10, (batch,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds_a_step(names, data: str, rounds: int) -> dict[str, float]:
    """Times one training step of each arm in turn; the median of the rounds."""
    steps = {name: Contestant(make_step(name, data)) for name in names}
    return {
        name: statistics.median(values)
        for name, values in interleave(steps, rounds, time.perf_counter).items()
    }


def train(data: str, name: str, epochs: int, root: str, seeds: list[str], folder: Path) -> list[dict]:
    """Trains an arm with every seed unless that was done, and returns the completed runs' records in the
    order of the seeds."""

    def completed() -> dict[str, dict]:
        records = [json.loads(run.read_text()) for run in folder.glob("*/run.json")]
        return {str(record["seed"]): record for record in records if record["status"] == "completed"}

    if missing := [seed for seed in seeds if seed not in completed()]:
        arguments = [*DATA[data][-1].split(), *SHARED.split(), *ARMS[name][0].split(), f"data.root={root}"]
        lengths = [f"trainer.max_epochs={epochs}", f"schedule.warmup_epochs={max(0.5, epochs * 0.07):.2f}"]
        run = f"hydra.sweep.dir={folder}", "hydra.sweep.subdir=seed_${seed}"
        command = [
            sys.executable,
            "-m",
            "vitlab.cli",
            "train",
            "-m",
            *arguments,
            *lengths,
            f"seed={','.join(missing)}",
            *run,
        ]
        print(" ".join(command[1:]), flush=True)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    records = completed()
    return [records[seed] for seed in seeds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--root", required=True)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", default="outputs/patch_embeds")
    options = parser.parse_args()
    plan = Path(options.out, f"{options.data}_{options.minutes:g}_minutes", "plan.json")
    # a plan is kept: what is trained later, on a busier machine, keeps its share; remove the folder for a new
    # one
    if not plan.exists():
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text(json.dumps(seconds_a_step(list(ARMS), options.data, options.rounds), indent=1))
    step_seconds = json.loads(plan.read_text())
    steps = DATA[options.data][6]
    print(f"{where()}; {options.data}")
    print(f"{'patch embedding':30} {'ms/step':>8} {'epochs':>7} {'params':>10}  test accuracy by seed, mean")
    for name in options.arms:
        epochs = max(1, round(options.minutes * 60 / (steps * step_seconds[name])))
        records = train(
            options.data,
            name,
            epochs,
            options.root,
            options.seeds.split(","),
            plan.parent / f"{name}_{epochs}_epochs",
        )
        accuracies = [100 * record["metrics"]["test/accuracy"] for record in records]
        shown = ", ".join(f"{value:.1f}" for value in accuracies)
        mean = statistics.mean(accuracies)
        print(
            f"{name:30} {1e3 * step_seconds[name]:8.0f} {epochs:7} {records[0]['parameters']:10,}  {shown}:"
            f" {mean:.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()

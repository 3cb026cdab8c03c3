"""One command for the minutes in which a GPU is lent: right, fast, good, and what is left.

    make gpu-wheels                                     # here: what that machine lacks, into .gpu/
    make gpu                                            # there: about twelve minutes
    python -m benchmarks.gpu --device cpu --out DIR     # a rehearsal in tiny sizes: shows that the code runs,
    and nothing else

Each part is a process of its own that is stopped when it outruns its share; its page and its JSON are written
before the next begins, and a part that fails does not keep the next from running. gpu.md holds all pages.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.child import ROOT
from benchmarks.gpu.findings import CUT, FAILED, Finding, left_over, page, read_findings
from benchmarks.gpu.plan import Plan
from benchmarks.machine import hardware, versions

SHARES = {"right": 180.0, "fast": 180.0, "good": 300.0}
"""The most seconds a part may take."""

TITLES = {"right": "Is it right?", "fast": "Is it fast?", "good": "Is it good?"}
LIBRARIES = ("torchvision", "pytorch-lightning", "torchmetrics", "timm", "hydra-core", "omegaconf")
GRACE_SECONDS = 3.0
"""Between asking a part to end and ending it."""


def end(process: subprocess.Popen) -> None:
    """Ends a part with all it started."""
    for each in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, each)
            process.wait(GRACE_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    process.wait()


def run_part(part: str, plan: Plan) -> list[Finding]:
    """Runs a part within its share and returns what it found; a part that broke or was stopped has a finding
    that says so."""
    log = Path(plan.out, "log.txt")
    began = time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.gpu.{part}"]
    places = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with log.open("a") as written:
        start = written.tell()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | plan.environment() | {"PYTHONPATH": places},
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(plan.shares[part])
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end(process)
    seconds = time.perf_counter() - began
    found = read_findings(plan.json_file(part))
    tail = log.read_bytes()[start:].decode(errors="replace")[-3000:]
    if status is None:
        found.append(
            Finding(
                f"the part itself, stopped after its share of {plan.shares[part]:.0f} s",
                CUT,
                seconds,
                {},
                tail,
            )
        )
    elif status and not any(each.status == FAILED for each in found):
        found.append(Finding(f"the part itself, status {status}", FAILED, seconds, {}, tail))
    return found


def whole_page(pages: dict[str, str], findings: dict[str, list[Finding]], plan: Plan) -> str:
    where = f"{hardware(plan.device)}; {versions(LIBRARIES)}; {time.strftime('%Y-%m-%d')}"
    head = (
        "Rehearsed on CPU in tiny sizes; these are no measurements." if plan.is_rehearsal else f"On {where}."
    )
    return "\n".join([f"# vitlab on a GPU\n\n{head}\n", *pages.values(), left_over(findings)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: all of {', '.join(SHARES)}")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--out", default=str(ROOT / "outputs" / "gpu"), help="where pages and JSON go")
    parser.add_argument(
        "--images",
        help=(
            "CIFAR-10 as benchmarks.gpu.images packs it; without it `fast` takes noise, and `good` is"
            " left out"
        ),
    )
    parser.add_argument(
        "--share", action="append", default=[], metavar="PART=SECONDS", help=f"default: {SHARES}"
    )
    parser.add_argument("--checks", help="pytest's -k for the part right: only some of its checks")
    options = parser.parse_args(arguments)
    parts = options.parts or list(SHARES)
    shares = SHARES | {
        name: float(seconds) for name, _, seconds in (share.partition("=") for share in options.share)
    }
    if unknown := (set(parts) | set(shares)) - set(SHARES):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(SHARES)}")
    out = Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("*"):
        if stale.suffix in (".md", ".json", ".txt") and stale.is_file():
            stale.unlink()
    images = str(Path(options.images).resolve()) if options.images else None
    plan = Plan(str(out), options.device, images, shares, ["-k", options.checks] if options.checks else [])
    if plan.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            parser.error("--device cuda: torch finds no GPU here; --device cpu rehearses")
    pages: dict[str, str] = {}
    findings: dict[str, list[Finding]] = {}
    for part in parts:
        began = time.perf_counter()
        findings[part] = run_part(part, plan)
        pages[part] = page(
            TITLES[part],
            f"{time.perf_counter() - began:.0f} s of a share of {shares[part]:.0f}.",
            findings[part],
        )
        (out / f"{part}.md").write_text(pages[part])
        (out / "gpu.md").write_text(whole_page(pages, findings, plan))
        print(pages[part], flush=True)
    print(left_over(findings), flush=True)
    print(f"wrote {out / 'gpu.md'}")
    if any(each.status in (FAILED, CUT) for found in findings.values() for each in found):
        sys.exit(1)


if __name__ == "__main__":
    main()

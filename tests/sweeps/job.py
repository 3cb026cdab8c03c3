"""What a job of a sweep does to its folder and to its process, without the seconds that importing torch
takes.

usage: job.py FOLDER WHAT [ARGUMENT]
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from vitlab.runs.status import this_process

FOLDER, WHAT, *MORE = sys.argv[1:]


def record(status, **facts):
    (Path(FOLDER) / "run.json").write_text(json.dumps({"status": status, **this_process(), **facts}))


def note(word):
    with (Path(FOLDER).parent / "notes.txt").open("a") as file:
        file.write(f"{Path(FOLDER).name} {word}\n")


def save_and_leave(number, frame):
    record("interrupted", reason=signal.Signals(number).name)
    note("saved")
    sys.exit(128 + number)


goes_on = (Path(FOLDER) / "run.json").exists()
Path(FOLDER).mkdir(exist_ok=True)
record("running")
for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, save_and_leave)
note("started")
print("a line of what is under way")
if WHAT == "raise":
    raise RuntimeError("raised")
if WHAT == "exit":
    sys.exit(3)
if WHAT == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if WHAT == "leave":
    worker = subprocess.Popen(["sleep", "60"])
    note(f"worker:{worker.pid}")
    os.kill(os.getpid(), signal.SIGKILL)
if WHAT == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if WHAT == "memory":
    bytearray(2**30)
if WHAT == "nan":
    record("failed", reason="Diverged: train/loss is nan at step 5")
    sys.exit(3)
if WHAT == "wait" and not goes_on:
    time.sleep(float(MORE[0]))
if WHAT == "deaf":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    note("deaf")
    time.sleep(60.0)
place = {key: os.environ.get(key) for key in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
record("completed", metrics={"best/val/accuracy": 0.5}, seconds=1.0, place=place)

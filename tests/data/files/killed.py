"""Does a piece of work in child processes that are killed (SIGKILL) before every single file operation, and
looks at what is left.

usage: killed.py MODES WORK...    with MODES some of everywhere,together,full (run by the tests; prints JSON,
by mode) WORK is: store FOLDER_OF_IMAGES SCRATCH | download URL SHA256 FOLDER_AS_IT_SHOULD_BE SCRATCH
"""

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vitlab.files.download import DONE, fetch_archive

OPERATIONS = {
    "open",
    "socket.connect",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.listdir",
    "os.scandir",
    "shutil.rmtree",
}


class Store:
    """Decoding a folder of images."""

    def __init__(self, images: str, scratch: str):
        # they bring torch, which a download has no need to wait for
        from vitlab.data.files import growing
        from vitlab.data.files.store import Decoding, open_store, store_key
        from vitlab.files.digests import digests_of

        growing.SAVED_SECONDS = -1.0  # after each image
        decoding = Decoding((4, 4), 1, "error")
        self.files = sorted(Path(images).iterdir())
        self.labels = list(range(len(self.files)))
        self.expected = np.stack([np.asarray(Image.open(file))[None] for file in self.files])
        self.scratch = Path(scratch)
        self.result = self.scratch / store_key(digests_of(self.files, self.scratch), self.labels, decoding)
        self.do = lambda: open_store(self.files, self.labels, decoding, scratch)

    def is_right(self) -> bool:
        images, labels = np.load(self.result / "images.npy"), np.load(self.result / "labels.npy")
        return np.array_equal(images, self.expected) and labels.tolist() == self.labels


class Download:
    """Downloading and unpacking an archive."""

    def __init__(self, url: str, sha256: str, model: str, scratch: str):
        self.expected = self.content(Path(model))
        self.scratch = Path(scratch)
        self.result = self.scratch / "set"
        self.do = lambda: fetch_archive(url, self.result, sha256)

    def is_right(self) -> bool:
        return self.content(self.result) == self.expected

    @staticmethod
    def content(folder: Path) -> dict[str, bytes]:
        return {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file() and file.name != DONE
        }


Work = Store | Download


def in_child(action: Callable[[], object]) -> int:
    """Starts a child that does the action; returns its process id."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def killed_before(operation: int, work: Work) -> None:
    """Does the work and dies before its n-th file operation."""
    seen = 0

    def watch(event: str, _: tuple[object, ...]) -> None:
        nonlocal seen
        if event in OPERATIONS:
            seen += 1
            if seen > operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    work.do()


def everywhere(work: Work) -> dict[str, object]:
    """Kills a child before operation 0, 1, 2 ... until one comes through; each time, what is left and doing
    it again must be right."""
    work.do()  # what is imported late is imported now
    wrong = []
    operation = 0
    while True:
        shutil.rmtree(work.scratch)
        work.scratch.mkdir()
        _, status = os.waitpid(in_child(lambda number=operation: killed_before(number, work)), 0)
        if work.result.exists() and not work.is_right():
            wrong.append(f"half a result after a kill before operation {operation}")
        work.do()
        if not work.is_right():
            wrong.append(f"wrong result from doing it again after a kill before operation {operation}")
        if not os.WIFSIGNALED(status):
            return {"kills": operation, "last_exit": os.waitstatus_to_exitcode(status), "wrong": wrong}
        operation += 1


def together(work: Work) -> dict[str, object]:
    """Four children do the same work at the same time."""
    children = [in_child(work.do) for _ in range(4)]
    exits = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return {
        "exits": exits,
        "right": work.is_right(),
        "left": sorted(entry.name for entry in work.scratch.iterdir()),
    }


def full(work: Work) -> dict[str, object]:
    """Does the work where no file can grow beyond 200 bytes, as on a full disk. From then on none can in this
    process."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
    try:
        work.do()
    except ValueError as error:
        return {"message": str(error), "left": sorted(entry.name for entry in work.scratch.iterdir())}
    return {"message": None}


if __name__ == "__main__":
    modes, kind, *arguments = sys.argv[1:]
    chosen: Work = {"store": Store, "download": Download}[kind](*arguments)
    found = {}
    for mode in modes.split(","):
        shutil.rmtree(chosen.scratch, ignore_errors=True)
        chosen.scratch.mkdir()
        found[mode] = {"everywhere": everywhere, "together": together, "full": full}[mode](chosen)
    print(json.dumps(found))

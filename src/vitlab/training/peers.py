"""The other processes of a run: one that is lost, or that answers no more, interrupts the run in a line."""

import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist
from pytorch_lightning.utilities import rank_zero_only

from vitlab.runs.record import Interrupted, Run, ending_signals
from vitlab.slurm import queue_again_if_asked
from vitlab.training.stop_signals import children_of

log = logging.getLogger(__name__)

STUCK_SECONDS = 15.0
"""A process that was asked to end, and has run no line of Python for so long, is taken to wait for another
one that is gone. torchrun and SLURM kill after 30 seconds."""

OF_PEERS = re.compile(r"gloo/|NCCL|Timed out waiting|Connection (closed|reset) by peer|Broken pipe")
"""Words of torch's errors where another process is lost; gloo's have no type of their own."""

PROBE = signal.SIGURG
"""A signal that means nothing: Python calls its handler in the main thread as soon as that runs Python."""

PROBE_SECONDS = 0.2


class PeerLost(Interrupted):
    """Another process of the run has ended, or does not answer. The exit status is SIGTERM's."""

    def __init__(self, why: str):
        super().__init__(signal.SIGTERM, "")
        self.reason = f"another process of the run was lost ({why})"


def what_was_lost(error: RuntimeError) -> str | None:
    """Returns what an error of torch says of the other processes; None where it is about something else."""
    text = " ".join(str(error).split())
    is_about_peers = isinstance(error, dist.DistNetworkError | dist.DistStoreError) or OF_PEERS.search(text)
    if not is_about_peers or "EADDRINUSE" in text or "out of memory" in text.lower():
        return None
    return re.sub(r"\[/\S+\] ", "", text).partition(". This is typically")[0][:120]


@contextmanager
def lost_in_a_line() -> Iterator[None]:
    """Raises PeerLost in the place of the errors with which torch tells that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        why = what_was_lost(error)
        if why is None:
            raise
        lost = PeerLost(why)
        log.error("%s", lost.reason)
        raise lost from None


@contextmanager
def obeyed_in_waits(leave: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Calls `leave`, from a thread, with a signal that asks the run to end while the main thread hangs.
    Inside a library that waits for another process Python calls no handler, and gloo waits for half an hour
    where the network was cut."""
    listener, wakened = socket.socketpair()
    wakened.setblocking(False)
    runs_python, ended = threading.Event(), threading.Event()
    main, numbers = threading.get_ident(), {signal.SIGINT, *ending_signals()}

    def watch() -> None:
        asked: set[Any] = set()
        while not asked and (data := listener.recv(64)):
            asked = numbers.intersection(data)
        while asked and not ended.wait(PROBE_SECONDS):  # it may get stuck on its way to the step's end
            runs_python.clear()
            signal.pthread_kill(main, PROBE)
            if not runs_python.wait(STUCK_SECONDS) and not ended.is_set():
                leave(signal.Signals(max(asked)))
                return

    probe = signal.signal(PROBE, lambda number, frame: runs_python.set())
    before = signal.set_wakeup_fd(wakened.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        runs_python.set()
        signal.set_wakeup_fd(before)
        wakened.close()  # which, with the events, ends the thread
        thread.join()
        signal.signal(PROBE, probe)
        listener.close()


@contextmanager
def among_peers(run: Run, trainer: pl.Trainer) -> Iterator[None]:
    """Ends a run of several processes in a line where one is lost, and obeys signals while it waits."""
    is_main = threading.current_thread() is threading.main_thread()
    if trainer.num_devices * trainer.num_nodes == 1 or not is_main:
        yield
        return

    def leave(asked: signal.Signals) -> None:
        reason = f"{asked.name}, while it waited for another process of the run"
        log.error("%s: out at once", reason)
        run.end("interrupted", reason)
        if rank_zero_only.rank == 0 and (line := queue_again_if_asked(asked)):
            log.warning("%s", line)
        for child in children_of(trainer):
            child.kill()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(128 + asked)

    with lost_in_a_line(), obeyed_in_waits(leave):
        yield

"""Another process that is lost, or answers no more, ends a run in a line, and a signal is obeyed while a run
waits for one."""

import ctypes
import os
import signal
import threading
import time

import pytest
import pytorch_lightning as pl
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy

from vitlab.quirks import limit_waiting, waiting_limit
from vitlab.training import peers

GLOO = (
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [10.0.0.2]:5432: Connection reset"
)
GLOO += " by peer. This is typically caused by a remote worker crashing. Check the logs. GLHF!"
LOST = [
    (RuntimeError(GLOO), "Read error [10.0.0.2]:5432: Connection reset by peer"),
    (dist.DistBackendError("NCCL error: remote process exited"), "NCCL error: remote process exited"),
    (dist.DistNetworkError("The client socket has timed out"), "The client socket has timed out"),
]
OTHER = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    dist.DistNetworkError("The server socket has failed to listen: EADDRINUSE"),
    dist.DistBackendError("NCCL error: Cuda failure 'out of memory'"),
]


@pytest.mark.parametrize(("error", "why"), LOST)
def test_what_torch_says_of_a_lost_process_is_an_interruption_in_a_line(error, why):
    with pytest.raises(peers.PeerLost) as end, peers.lost_in_a_line():
        raise error
    assert end.value.reason == f"another process of the run was lost ({why})"
    assert end.value.code == 143


@pytest.mark.parametrize("error", OTHER)
def test_any_other_error_stays_what_it_is(error):
    with pytest.raises(type(error)), peers.lost_in_a_line():
        raise error


@pytest.fixture
def noted(monkeypatch):
    """A handler of SIGTERM that keeps when it was called; short waits."""
    monkeypatch.setattr(peers, "STUCK_SECONDS", 0.3)
    calls = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    yield calls
    signal.signal(signal.SIGTERM, before)


def strike_soon():
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()


def test_a_signal_is_obeyed_while_a_library_waits_and_calls_no_handler(noted):
    library, mutex, left = ctypes.CDLL(None), ctypes.create_string_buffer(64), []

    def leave(number):
        left.append((number.name, list(noted)))
        library.pthread_mutex_unlock(mutex)  # a run would end its process here

    with peers.obeyed_in_waits(leave):
        library.pthread_mutex_lock(mutex)
        strike_soon()
        library.pthread_mutex_lock(mutex)  # for ever, as in a collective of gloo whose peer is gone
    assert left == [("SIGTERM", [])]
    assert noted == [signal.SIGTERM]  # once the wait was over


def test_a_run_that_computes_obeys_its_own_handler(noted):
    left = []
    with peers.obeyed_in_waits(left.append):
        strike_soon()
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            pass
    assert noted == [signal.SIGTERM] and left == []


@pytest.mark.parametrize("strategy", [DDPStrategy, ModelParallelStrategy])
def test_the_strategies_take_how_long_one_process_waits_for_another(strategy):
    trainer = pl.Trainer(accelerator="cpu", devices=2, strategy=strategy(), logger=False)
    limit_waiting(trainer, 7)
    limit = waiting_limit(trainer)
    assert limit is not None and limit.total_seconds() == 7

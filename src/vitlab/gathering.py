"""What the processes of one run tell each other."""

from typing import Any

import torch.distributed as dist


def of_all_processes(value: Any) -> list[Any]:
    """Returns the plain data that each of a run's processes gives, by rank."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values

"""What the command line chose, handed on to each part, which is a process of its own."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "VITLAB_GPU_PLAN"


@dataclass(frozen=True)
class Plan:
    """`out` is where pages go; `device` is cuda, or cpu for a rehearsal in tiny sizes; `images` a packed
    file, or None for noise.

    `shares` are the most seconds that each part may take; `chosen` are pytest's options that choose among the
    checks.
    """

    out: str
    device: str
    images: str | None
    shares: dict[str, float]
    chosen: list[str]

    @property
    def is_rehearsal(self) -> bool:
        return self.device == "cpu"

    def json_file(self, part: str) -> Path:
        return Path(self.out, f"{part}.json")

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> "Plan":
        return cls(**json.loads(os.environ[VARIABLE]))

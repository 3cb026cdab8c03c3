"""What became of every tensor of a file and of a model, as a table for the log."""

from collections.abc import Sequence

from vitlab.words import plain

LISTED = 3


def listed(names: Sequence[str], separator: str = ", ") -> str:
    """Returns names for one line: three of them, then how many more."""
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return separator.join([*map(plain, names[:LISTED]), *more])


class Account:
    """What became of each tensor, by status (loaded, resized, adapted, replaced, ...) and reason."""

    def __init__(self, source: str):
        self.source = source
        self.entries: dict[tuple[str, str], list[str]] = {}
        self.notes: list[str] = []

    def add(self, status: str, name: str, reason: str = "") -> None:
        self.entries.setdefault((status, reason), []).append(name)

    def names(self, status: str) -> list[str]:
        """Returns the tensors of this status."""
        return [name for (found, _), names in self.entries.items() if found == status for name in names]

    def __str__(self) -> str:
        lines = [f"weights of {self.source}:"]
        entries = sorted(self.entries.items(), key=lambda entry: entry[0][0] != "loaded")
        for (status, reason), names in entries:
            details = f"  {reason}: {listed(names)}" if reason else ""
            lines.append(f"  {status:<9}{len(names):>4}{details}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

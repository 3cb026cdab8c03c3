"""vitlab and the libraries people would use instead, timed side by side: `python -m benchmarks` (see `__main__.py`)."""

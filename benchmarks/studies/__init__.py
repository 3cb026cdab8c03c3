"""Questions with an answer of minutes to hours, each with a command line of its own: `python -m
benchmarks.studies.NAME`."""

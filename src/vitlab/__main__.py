"""`python -m vitlab`, for those who start several processes, as `torchrun -m vitlab train ...` does."""

import sys
from pathlib import Path

if not sys.flags.safe_path and sys.path[0] == str(Path.cwd()):
    # which -m put there: a file of a data set's folder would be taken for a module of that name
    del sys.path[0]

from vitlab.cli import main

if __name__ == "__main__":
    main()

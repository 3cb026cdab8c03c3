"""`python -m vitlab`, for those who start several processes: `torchrun --nproc-per-node 2 -m vitlab train hardware=multi_gpu ...`."""

import os
import sys

if not sys.flags.safe_path and sys.path[0] == os.getcwd():
    del sys.path[0]  # which -m put there: a file of a data set's folder would be taken for a module of that name

from vitlab.cli import main

if __name__ == "__main__":
    main()

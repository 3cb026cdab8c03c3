"""`python -m vitlab`, for those who start several processes: `torchrun --nproc-per-node 2 -m vitlab train hardware=multi_gpu ...`."""

from vitlab.cli import main

if __name__ == "__main__":
    main()

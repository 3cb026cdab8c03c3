"""vitlab and the libraries people would use instead, timed side by side: `python -m benchmarks` (see
`__main__.py`).

A peer is a function in `peers.py` from a `Shape` to a model, a line in its `MODELS`, and its package in its
`PEERS`; inference and training then time it. A part is a module with `LIBRARIES`, the packages whose versions
its page tells, and `measure(setting)`, which yields its page's blocks as they come; a line in
`__main__.PARTS` makes it known.
"""

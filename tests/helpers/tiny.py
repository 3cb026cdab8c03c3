"""What the shortest trainings of the tests have in common."""

TINY_DIGITS = (
    "data=digits",
    "hardware=cpu",
    "model.depth=1",
    "model.embed_dim=16",
    "model.num_heads=2",
)
"""A ViT of one narrow block, on the embedded digits."""

SHORTLY = (
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "trainer.log_every_n_steps=1",
    "checkpoint_every_steps=2",
)
"""One batch to validate and test, every step logged, a checkpoint every second one."""

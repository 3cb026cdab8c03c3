"""A laboratory for Vision Transformers: Lightning runs the training, Hydra composes the experiment, TensorBoard shows it."""

__version__ = "0.1.0"

"""Grids of LoRA fine-tunes, trained on a Slurm cluster and compared honestly."""

__version__ = "0.1.0"

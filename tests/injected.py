"""Faults that a test puts into the processes that train, through a sitecustomize.py on their PYTHONPATH."""


def out_of_memory(rows):
    """A stand-in for what only a GPU does: the allocator fails at more than so many rows."""
    return f"""
import sys
if "worker" in sys.orig_argv:
    import torch
    import loragrid.training.sft as sft
    step = sft.SupervisedTrainer.training_step
    def training_step(self, model, inputs, *rest):
        if len(inputs["input_ids"]) > {rows}:
            raise torch.OutOfMemoryError("CUDA out of memory (injected by a test)")
        return step(self, model, inputs, *rest)
    sft.SupervisedTrainer.training_step = training_step
"""

"""Train runs: order of rows, checkpoints that resume exactly, attempts."""

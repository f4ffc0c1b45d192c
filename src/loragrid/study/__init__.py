"""What to run: the study file, its grid, the keys of every artifact and the batches of GPU work."""

"""What work will need: memory, time and GPUs, before it runs; and what jobs ask for accordingly."""

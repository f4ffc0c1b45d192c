"""What jobs need of a cluster, told before they run: memory, GPUs and time."""

"""From answers to score files: which metric makes what, where, and how it is written."""

from nano import nano_root
from studies import place

__all__ = ["nano_root", "place"]

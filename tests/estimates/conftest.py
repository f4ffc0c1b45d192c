from fakes import fake
from nano import nano_root
from studies import place

__all__ = ["fake", "nano_root", "place"]

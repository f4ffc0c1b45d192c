from fakes import fake
from nano import nano, nano_root
from studies import place

__all__ = ["fake", "nano", "nano_root", "place"]

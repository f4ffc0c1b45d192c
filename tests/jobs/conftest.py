from fakes import fake
from nano import nano, nano_root

__all__ = ["fake", "nano", "nano_root"]

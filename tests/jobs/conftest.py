from fakes import fake

__all__ = ["fake"]

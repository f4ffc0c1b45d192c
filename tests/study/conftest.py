from studies import place

__all__ = ["place"]

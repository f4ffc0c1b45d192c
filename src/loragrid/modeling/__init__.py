"""Load a base model at a precision the device has, and attach adapters to it."""

"""The command ``edials``."""

from .main import main

__all__ = ["main"]

"""edials: share face images without sharing who is on them."""

__version__ = "0.1.0.dev0"

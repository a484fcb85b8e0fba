"""The command ``edials``."""

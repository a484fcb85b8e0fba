"""``python -m edials`` is the command ``edials``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())

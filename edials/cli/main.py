"""The command: ``edials demo``, ``edials fit``, ``edials anonymize`` and ``edials audit``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..exceptions import EdialsError
from .anonymize import add_anonymize
from .audit import add_audit
from .demo import add_demo
from .fit import add_fit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 2 with one line on what was wrong."""
    parser = argparse.ArgumentParser(
        prog="edials", description="Share face images without sharing who is on them."
    )
    parser.add_argument("--version", action="version", version=f"edials {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    add_demo(commands)
    add_fit(commands)
    add_anonymize(commands)
    add_audit(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (EdialsError, OSError, ValueError) as error:
        print(f"edials {options.command}: {error}", file=sys.stderr)
        return 2
    return 0

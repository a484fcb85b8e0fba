"""The command: ``edials demo``, ``edials fit``, ``edials anonymize`` and ``edials audit``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from .. import __version__
from ..exceptions import EdialsError
from .anonymize import add_anonymize
from .audit import add_audit
from .demo import add_demo
from .fit import add_fit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; exit status 0, 2 with one line on the error, or 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="edials", description="Share face images without sharing who is on them."
    )
    parser.add_argument("--version", action="version", version=f"edials {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for add_command in (add_demo, add_fit, add_anonymize, add_audit):
        add_command(commands)
    options = parser.parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning
            options.run(options)
    except KeyboardInterrupt:
        # 'edials anonymize' writes picture by picture, the other commands at the end.
        partial = options.command == "anonymize" and options.out.exists()
        left = f"{options.out} is incomplete" if partial else "nothing was written"
        print(f"edials {options.command}: interrupted; {left}", file=sys.stderr)
        return 130
    except (EdialsError, OSError, ValueError) as error:
        print(f"edials {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def _print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"edials: {message}", file=sys.stderr, flush=True)

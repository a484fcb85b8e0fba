"""The command: ``edials demo``, ``edials fit``, ``edials anonymize`` and ``edials audit``."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..exceptions import EdialsError, IdentityLeakWarning
from .anonymize import add_anonymize
from .audit import add_audit
from .demo import run_demo
from .fit import add_fit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 2 with one line on what was wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (EdialsError, OSError, ValueError) as error:
        print(f"edials {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edials", description="Share face images without sharing who is on them."
    )
    parser.add_argument("--version", action="version", version=f"edials {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    demo = commands.add_parser(
        "demo",
        help="fit, anonymize and attack made-up faces",
        description="Make faces, fit, anonymize held-out ones, attack them, and write a table, a "
        "page and a sheet of pictures: a few minutes on two cores.",
    )
    demo.add_argument(
        "--out", type=Path, default=Path("edials-demo"), metavar="DIR", help="default: edials-demo"
    )
    demo.add_argument("--seed", type=int, default=0, help="default: 0")
    demo.set_defaults(run=_demo)

    add_fit(commands)
    add_anonymize(commands)
    add_audit(commands)
    return parser


def _demo(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentityLeakWarning)  # the table says what was withheld
        table = run_demo(options.out, random_state=options.seed)
    print(table.T.to_string(float_format=lambda value: f"{value:.1f}"))
    print(f"\n{time.perf_counter() - start:.0f} s; see {options.out / 'report.html'}")

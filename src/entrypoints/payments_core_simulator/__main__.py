"""`python -m payments_core_simulator --port 9001 --server-key KEY --notify-url URL`."""

import argparse
import sys
from collections.abc import Sequence

from .server import DEFAULT_HOST, DEFAULT_PORT, serve


def main(arguments: Sequence[str] | None = None, *, prog: str = "payments_core_simulator") -> int:
    """Serve as the command line says; 2 when it makes no sense or the address is taken."""
    wishes = _parser(prog).parse_args(arguments)
    try:
        serve(**vars(wishes))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description="A stand-in for Midtrans Snap and Core. No real money moves."
    )
    parser.add_argument("--server-key", required=True, help="the key clients authenticate with")
    parser.add_argument("--host", default=DEFAULT_HOST, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--notify-url", default="", help="the merchant's webhook")
    parser.add_argument("--public-url", default="", help="origin that buyers reach the pay page by")
    parser.add_argument("--merchant-id", default="G000000000", help="(default: %(default)s)")
    parser.add_argument("--core-errors", choices=("http", "body"), default="http", help="how 404 and 412 travel")
    parser.add_argument("--repeated-refund-key", choices=("replay", "406"), default="replay")
    parser.add_argument("--notification-speed-up", type=float, default=1.0, help="divides the retry intervals")
    return parser


if __name__ == "__main__":
    sys.exit(main())

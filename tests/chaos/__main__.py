"""`python -m chaos --payments 200 --kills 20 --database postgresql --seed 1`, inside `tests/`."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from chaos.plan import Plan
from chaos.run import run


def main() -> int:
    """0 when nothing went wrong, 1 with every violation."""
    wishes = vars(_parser().parse_args())
    logs = wishes.pop("logs")
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        try:
            outcome = asyncio.run(run(Plan(**wishes), Path(folder)))
        finally:
            if logs is not None:
                logs.mkdir(parents=True, exist_ok=True)
                for log in Path(folder).glob("*.log"):
                    shutil.copy(log, logs)
    print("\n".join(outcome.lines()))
    return 1 if outcome.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chaos", description="Kill processes while orders are paid; compare ledgers.")
    parser.add_argument("--payments", type=int, default=200, help="orders (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=20, help="kill -9, spread over them (default: %(default)s)")
    parser.add_argument("--database", choices=("postgresql", "patroni", "sqlite"), default="postgresql")
    parser.add_argument("--gateway", choices=("midtrans", "stripe", "both"), default="both")
    parser.add_argument("--seed", type=int, default=1, help="of stories, faults and kills (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=24, help="orders at a time (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=120.0, help="end the storm after so long, done or not")
    parser.add_argument("--patience-s", type=float, default=600.0, help="how long to wait for quiet, in real seconds")
    parser.add_argument("--logs", type=Path, help="keep what every process printed in this folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())

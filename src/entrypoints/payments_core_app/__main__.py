"""The `payments` command, which says what is missing when only the bare package is installed."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from payments_core_app.cli import cli  # noqa: PLC0415 - the extra may be missing, and that is answered here
    except ModuleNotFoundError as error:
        sys.exit(
            f"payments: {error.name} is not installed; the command needs the extra: pip install 'payments-core[app]'"
        )
    cli()


if __name__ == "__main__":
    main()

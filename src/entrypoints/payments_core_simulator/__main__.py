"""`python -m payments_core_simulator [--gateway midtrans|stripe] --port 9001 --server-key KEY --notify-url URL`."""

import argparse
import sys
from collections.abc import Callable, Sequence

from .midtrans import Settings as MidtransSettings
from .midtrans import simulated_midtrans
from .server import DEFAULT_HOST, serve
from .stage import SimulatedGateway
from .stripe import Settings as StripeSettings
from .stripe import simulated_stripe

Build = Callable[[argparse.Namespace, str], SimulatedGateway]


def main(arguments: Sequence[str] | None = None, *, prog: str = "payments_core_simulator") -> int:
    """Serve as the command line says; 2 when it makes no sense or the address is taken."""
    chooser = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    chooser.add_argument("--gateway", choices=("midtrans", "stripe"), default="midtrans")
    chosen, rest = chooser.parse_known_args(arguments)
    parser, build = _midtrans(prog) if chosen.gateway == "midtrans" else _stripe(prog)
    wishes = parser.parse_args(rest)
    try:
        serve(lambda url: build(wishes, url), host=wishes.host, port=wishes.port, public_url=wishes.public_url)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    return 0


def _parser(prog: str, description: str, port: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--gateway", choices=("midtrans", "stripe"), help="whose wire to speak (default: midtrans)")
    parser.add_argument("--host", default=DEFAULT_HOST, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=port, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--notify-url", default="", help="the merchant's webhook")
    parser.add_argument("--public-url", default="", help="origin that buyers reach the pay page by")
    parser.add_argument("--notification-speed-up", type=float, default=1.0, help="divides the retry intervals")
    return parser


def _midtrans(prog: str) -> tuple[argparse.ArgumentParser, Build]:
    parser = _parser(prog, "A stand-in for Midtrans Snap and Core. No real money moves.", 9001)
    parser.add_argument("--server-key", required=True, help="the key clients authenticate with")
    parser.add_argument("--merchant-id", default="G000000000", help="(default: %(default)s)")
    parser.add_argument("--core-errors", choices=("http", "body"), default="http", help="how 404 and 412 travel")
    parser.add_argument("--repeated-refund-key", choices=("replay", "406"), default="replay")

    def build(wishes: argparse.Namespace, base_url: str) -> SimulatedGateway:
        settings = MidtransSettings(
            server_key=wishes.server_key,
            base_url=base_url,
            notify_url=wishes.notify_url,
            merchant_id=wishes.merchant_id,
            core_errors=wishes.core_errors,
            repeated_refund_key=wishes.repeated_refund_key,
            notification_speed_up=wishes.notification_speed_up,
        )
        return simulated_midtrans(settings)

    return parser, build


def _stripe(prog: str) -> tuple[argparse.ArgumentParser, Build]:
    parser = _parser(prog, "A stand-in for Stripe Checkout. No real money moves.", 9002)
    parser.add_argument("--secret-key", "--server-key", required=True, help="the sk_test_... clients authenticate with")
    parser.add_argument(
        "--webhook-secret", action="append", default=[], help="whsec_...; repeated, every one signs, as in a rotation"
    )
    parser.add_argument("--api-version", default=StripeSettings.default_api_version(), help="(default: %(default)s)")

    def build(wishes: argparse.Namespace, base_url: str) -> SimulatedGateway:
        settings = StripeSettings(
            secret_key=wishes.secret_key,
            base_url=base_url,
            notify_url=wishes.notify_url,
            webhook_secrets=tuple(wishes.webhook_secret),
            api_version=wishes.api_version,
            notification_speed_up=wishes.notification_speed_up,
        )
        return simulated_stripe(settings)

    return parser, build


if __name__ == "__main__":
    sys.exit(main())

"""What a stranger who saw true messages can make of their proofs, and what of a message its proof has to cover."""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence

from payments_core.policy import GatewayTraits
from payments_core.ports import Genuine
from payments_core.states import CaseKind, Confirm

__all__ = ["FORGERIES", "Change", "forgeries", "trusted"]

Change = Callable[[str], str | None]
"""A proof -> what is sent in its place, None for nothing."""
FORGERIES = ("absent", "empty", "cut", "digest", "empty key", "another's")
_DIGESTS = {hashlib.new(name).digest_size * 2: name for name in ("md5", "sha1", "sha256", "sha384", "sha512")}
"""By the number of their hex digits."""
_USUAL = "sha256"
_HEX = re.compile(r"[0-9a-fA-F]{32,}")


def forgeries(body: bytes, another: Sequence[str]) -> dict[str, Change]:
    """Each of `FORGERIES` for this body; `another` are the proofs of another message, in their order."""
    others = iter(another)
    return {
        "absent": lambda _proof: None,
        "empty": lambda _proof: "",
        "cut": lambda proof: proof[:-1],
        "digest": lambda proof: _made_anew(proof, lambda name: hashlib.new(name, body).hexdigest()),
        "empty key": lambda proof: _made_anew(proof, lambda name: hmac.new(b"", body, name).hexdigest()),
        "another's": lambda _proof: next(others),
    }


def _made_anew(proof: str, digest: Callable[[str], str]) -> str:
    """The proof with each digest in it made without the secret; all of it, where none is seen."""
    made = _HEX.sub(lambda seen: digest(_DIGESTS.get(len(seen.group()), _USUAL)), proof)
    return made if _HEX.search(proof) else digest(_USUAL)


def trusted(traits: GatewayTraits, said: Genuine) -> object:
    """What of this message the core acts upon without asking."""
    if traits.confirm is Confirm.SIGNATURE:
        return said
    one = said.observation
    of_kind: Mapping[CaseKind, object] = {
        CaseKind.AMOUNT_MISMATCH: one.amount and one.amount.amount_minor,
        CaseKind.CURRENCY_MISMATCH: one.amount and one.amount.currency,
        CaseKind.MERCHANT_MISMATCH: (one.merchant_id, one.live),
    }
    return one.provider_order_id, {kind: of_kind[kind] for kind in traits.signed}

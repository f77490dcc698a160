"""Tokens checked with keys that somebody publishes: an outage refuses nobody, and a shared secret is no key."""

import base64
import json
from collections.abc import Iterator
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness.scripted import Scripted, says, scripted_server
from payments_core_app.settings import Settings
from payments_core_app.tokens import KeysUnavailable, Unauthenticated, Verifier, make_token, make_verifier

PRIVATE = ec.generate_private_key(ec.SECP256R1())
SECRET = b"a-shared-secret-that-somebody-published-by-mistake"
CLAIMS = {"sub": "alice", "aud": "payments-core", "exp": 4_000_000_000}


def published(*keys: dict[str, object]) -> str:
    return json.dumps({"keys": keys})


def public_key() -> dict[str, object]:
    return {**jwt.algorithms.ECAlgorithm.to_jwk(PRIVATE.public_key(), as_dict=True), "kid": "k1", "alg": "ES256"}


def shared_key() -> dict[str, object]:
    k = base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode()
    return {"kty": "oct", "kid": "k1", "alg": "HS256", "k": k}


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as running:
        yield running


@pytest.fixture
def verifier(server: Scripted) -> Verifier:
    return make_verifier(Settings(jwks_url=f"{server.url}/keys.json", jwt_secret=SECRET.decode()))


async def test_a_token_signed_with_a_published_key_opens(server: Scripted, verifier: Verifier) -> None:
    server.answer = says(200, published(public_key()))
    encoded = jwt.encode(CLAIMS, PRIVATE, "ES256", headers={"kid": "k1"})
    assert (await verifier.verify(encoded)).subject == "alice"


@pytest.mark.parametrize("answer", [says(500, "{}"), says(200, "<html></html>"), says(404, "no")])
async def test_keys_that_cannot_be_read_refuse_nobody(server: Scripted, verifier: Verifier, answer: object) -> None:
    """An outage must not look like a bad password: the caller comes back."""
    server.answer = answer  # type: ignore[assignment]
    encoded = jwt.encode(CLAIMS, PRIVATE, "ES256", headers={"kid": "k1"})
    with pytest.raises(KeysUnavailable) as unavailable:
        await verifier.verify(encoded)
    assert unavailable.value.retryable


async def test_a_shared_secret_is_no_published_key(server: Scripted, verifier: Verifier) -> None:
    """With published keys HS256 is off, whatever is published."""
    server.answer = says(200, published(shared_key()))
    encoded = jwt.encode(CLAIMS, SECRET, "HS256", headers={"kid": "k1"})
    with pytest.raises(Unauthenticated):
        await verifier.verify(encoded)


def test_no_token_is_made_that_nothing_would_take() -> None:
    with pytest.raises(ValueError, match="JWKS"):
        make_token(Settings(jwks_url="https://id.example/keys", jwt_secret=SECRET.decode()), "alice", ttl=timedelta(1))

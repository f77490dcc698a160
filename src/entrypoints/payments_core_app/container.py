"""The one place where classes meet: a declarative container, each provider annotated with the port it fills.

The annotation makes the type checker confirm the adapter. Nothing is injected into functions: `build_app` resolves the
use cases once and hands them to route factories. A test makes its own container and overrides one provider.
"""

from collections.abc import Mapping

from dependency_injector import containers, providers

from payments_core.policy import Policy
from payments_core.ports import Clock, Gateway, Ids, ShopStore
from payments_core.service import PaymentService
from payments_core.system import SystemClock, SystemIds
from payments_core_app.errands import BackgroundErrands
from payments_core_app.settings import Settings
from payments_core_app.tokens import Verifier, make_verifier
from payments_core_midtrans import MidtransGateway
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.housekeeping import Housekeeping
from payments_core_sqlalchemy.idempotency import SqlIdempotency

__all__ = ["Container", "make_gateways"]

_ERRANDS_AT_ONCE = 256


def make_gateways(settings: Settings) -> Mapping[str, Gateway]:
    """The gateways that have keys, by name."""
    gateways: dict[str, Gateway] = {}
    if settings.midtrans is not None:
        gateways["midtrans"] = MidtransGateway(settings.midtrans)
    return gateways


def _policy(settings: Settings) -> Policy:
    return settings.policy


def _store(settings: Settings) -> SqlStore:
    return SqlStore(settings.database_url, history_keys=settings.history_keys)


class Container(containers.DeclarativeContainer):
    """Everything the application is made of."""

    settings: providers.Dependency[Settings] = providers.Dependency(instance_of=Settings)
    clock: providers.Provider[Clock] = providers.ThreadSafeSingleton(SystemClock)
    ids: providers.Provider[Ids] = providers.ThreadSafeSingleton(SystemIds)
    policy: providers.Provider[Policy] = providers.Callable(_policy, settings)
    store: providers.Provider[ShopStore] = providers.ThreadSafeSingleton(_store, settings)
    idempotency: providers.Provider[SqlIdempotency] = providers.ThreadSafeSingleton(SqlIdempotency, store)
    housekeeping: providers.Provider[Housekeeping] = providers.ThreadSafeSingleton(Housekeeping, store)
    gateways: providers.Provider[Mapping[str, Gateway]] = providers.ThreadSafeSingleton(make_gateways, settings)
    background: providers.Provider[BackgroundErrands] = providers.ThreadSafeSingleton(
        BackgroundErrands, at_once=_ERRANDS_AT_ONCE
    )
    verifier: providers.Provider[Verifier] = providers.ThreadSafeSingleton(make_verifier, settings)
    service: providers.Provider[PaymentService] = providers.ThreadSafeSingleton(
        PaymentService.over, store, gateways, clock=clock, ids=ids, errands=background, policy=policy, shop=store
    )

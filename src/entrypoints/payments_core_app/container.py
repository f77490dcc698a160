"""The one place where classes meet: a declarative container, each provider annotated with the port it fills.

The annotation makes the type checker confirm the adapter. Nothing is injected into functions: `build_app` resolves the
use cases once and hands them to route factories. A test makes its own container and overrides one provider.
"""

from collections.abc import Mapping
from inspect import isawaitable

from dependency_injector import containers, providers

from payments_core.policy import Policy
from payments_core.ports import Clock, Gateway, Ids, ShopStore, Turns
from payments_core.service import PaymentService
from payments_core.system import SystemClock, SystemIds
from payments_core_app.budget import CallBudget
from payments_core_app.errands import BackgroundErrands
from payments_core_app.limited import LimitedGateway
from payments_core_app.settings import Settings
from payments_core_app.shares import GatewayCare
from payments_core_app.tokens import Verifier, make_verifier
from payments_core_manual import ManualGateway
from payments_core_midtrans import MidtransGateway
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.confirmations import StoredNotifications
from payments_core_sqlalchemy.housekeeping import Housekeeping
from payments_core_sqlalchemy.idempotency import SqlIdempotency
from payments_core_sqlalchemy.recovery import SqlRecovery
from payments_core_sqlalchemy.shares import SqlShares
from payments_core_sqlalchemy.survey import SqlSurvey
from payments_core_sqlalchemy.turns import SqlTurns
from payments_core_sqlalchemy.watch import Watch
from payments_core_stripe import StripeGateway

__all__ = ["Container", "close_gateways", "make_gateways"]

_ERRANDS_AT_ONCE = 256


def make_gateways(settings: Settings, store: SqlStore) -> Mapping[str, Gateway]:
    """The gateways that have keys, by name; one that calls out does so when `GatewayCare` gave it a share."""
    gateways: dict[str, Gateway] = {}
    if settings.midtrans is not None:
        gateways["midtrans"] = MidtransGateway(settings.midtrans)
    if settings.stripe is not None:
        gateways["stripe"] = StripeGateway(settings.stripe)
    limited: dict[str, Gateway] = {name: LimitedGateway(gateway, CallBudget()) for name, gateway in gateways.items()}
    if settings.manual is not None:  # calls nobody
        limited["manual"] = ManualGateway(settings.manual, StoredNotifications(store, ManualGateway.name))
    return limited


async def close_gateways(gateways: Mapping[str, Gateway]) -> None:
    """Connections and threads are given back, of those gateways that own any."""
    for gateway in gateways.values():
        closing = getattr(gateway, "close", lambda: None)()
        if isawaitable(closing):
            await closing


def _policy(settings: Settings) -> Policy:
    return settings.policy


def _store(settings: Settings) -> SqlStore:
    return SqlStore(settings.database_url, history_keys=settings.history_keys)


def _care(settings: Settings, store: SqlStore, gateways: Mapping[str, Gateway], clock: Clock) -> GatewayCare:
    """On SQLite one process serves, and the whole of every limit is its own."""
    shares = None if settings.is_sqlite else SqlShares(store)
    return GatewayCare(gateways, settings.gateway_limits, shares, SqlRecovery(store), clock)


class Container(containers.DeclarativeContainer):
    """Everything the application is made of."""

    settings: providers.Dependency[Settings] = providers.Dependency(instance_of=Settings)
    clock: providers.Provider[Clock] = providers.ThreadSafeSingleton(SystemClock)
    ids: providers.Provider[Ids] = providers.ThreadSafeSingleton(SystemIds)
    policy: providers.Provider[Policy] = providers.Callable(_policy, settings)
    store: providers.Provider[ShopStore] = providers.ThreadSafeSingleton(_store, settings)
    idempotency: providers.Provider[SqlIdempotency] = providers.ThreadSafeSingleton(SqlIdempotency, store)
    housekeeping: providers.Provider[Housekeeping] = providers.ThreadSafeSingleton(Housekeeping, store)
    gateways: providers.Provider[Mapping[str, Gateway]] = providers.ThreadSafeSingleton(make_gateways, settings, store)
    care: providers.Provider[GatewayCare] = providers.ThreadSafeSingleton(_care, settings, store, gateways, clock)
    turns: providers.Provider[Turns] = providers.ThreadSafeSingleton(SqlTurns, store)
    survey: providers.Provider[SqlSurvey] = providers.ThreadSafeSingleton(SqlSurvey, store)
    watch: providers.Provider[Watch] = providers.ThreadSafeSingleton(Watch, store)
    background: providers.Provider[BackgroundErrands] = providers.ThreadSafeSingleton(
        BackgroundErrands, at_once=_ERRANDS_AT_ONCE
    )
    verifier: providers.Provider[Verifier] = providers.ThreadSafeSingleton(make_verifier, settings)
    service: providers.Provider[PaymentService] = providers.ThreadSafeSingleton(
        PaymentService.over,
        store,
        gateways,
        clock=clock,
        ids=ids,
        errands=background,
        policy=policy,
        shop=store,
        turns=turns,
        survey=survey,
    )

"""Keeps this process's share of every gateway while it lives, and wakes what is unknown when a gateway is back."""

import asyncio
import secrets
from collections.abc import Mapping
from time import monotonic

import structlog

from payments_core.errors import StorageError
from payments_core.ports import Clock, Gateway
from payments_core_app.limited import LimitedGateway
from payments_core_sqlalchemy.recovery import SqlRecovery
from payments_core_sqlalchemy.shares import Allowance, SqlShares

__all__ = ["GatewayCare"]

log = structlog.get_logger(__name__)

_RENEW_EVERY_S = 2.0
_SOONER_S = 0.25
"""While the share is smaller than it should be: a newcomer waits for the others to give theirs up."""
_LEASE_S = 10.0
"""Several renewals may fail; a share that was not renewed is not used any more after it."""


class GatewayCare:
    """What surrounds the gateways of one process: its share of their limits, and their recovery.

    Without `shares` (SQLite, where one process serves) the whole limit is this process's.
    """

    def __init__(
        self,
        gateways: Mapping[str, Gateway],
        limits: Mapping[str, Allowance],
        shares: SqlShares | None,
        recovery: SqlRecovery | None,
        clock: Clock,
    ) -> None:
        self._limited = [gateway for gateway in gateways.values() if isinstance(gateway, LimitedGateway)]
        self._limits, self._shares, self._recovery, self._clock = limits, shares, recovery, clock
        self._holder = secrets.token_hex(16)
        self._keeping: asyncio.Task[None] | None = None
        self._waking: set[asyncio.Task[None]] = set()
        self._without: set[str] = set()

    async def begin(self) -> None:
        """Calls may be made; a first share is there when the database is."""
        for gateway in self._limited:
            gateway.recovered = self._wake
        if self._shares is None:
            for gateway in self._limited:
                limit = self._limits[gateway.name]
                gateway.budget.resize(limit.in_flight, limit.per_second)
            return
        await self._renew_all(self._shares)
        self._keeping = asyncio.create_task(self._keep(self._shares))

    async def end(self) -> None:
        """The shares are given back."""
        for task in [*self._waking, *([self._keeping] if self._keeping else [])]:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for gateway in self._limited if self._shares is not None else ():
            gateway.budget.resize(0, 0)
            try:
                await self._shares.give_back(gateway.name, self._holder)  # type: ignore[union-attr]
            except StorageError as error:
                log.info("gateway.share_not_given_back", provider=gateway.name, why=error.code)  # its lease ends

    async def _keep(self, shares: SqlShares) -> None:
        while True:
            try:
                whole = await self._renew_all(shares)
            except Exception:
                # Whatever it is: a process that stopped renewing would ask no gateway any more, until it is restarted.
                log.exception("gateway.share_not_renewed")
                whole = False
            await asyncio.sleep(_RENEW_EVERY_S if whole else _SOONER_S)

    async def _renew_all(self, shares: SqlShares) -> bool:
        """Whether every gateway may be called by now."""
        return all([await self._renew(shares, gateway) for gateway in self._limited])

    async def _renew(self, shares: SqlShares, gateway: LimitedGateway) -> bool:
        budget, asked_at = gateway.budget, monotonic()
        # A call that began just before the lease ended may last its time-out: nobody else has its place until then.
        lease_s = _LEASE_S + gateway.traits.timeout.total_seconds()
        try:
            share = await shares.renew(
                gateway.name,
                self._holder,
                limit=self._limits[gateway.name],
                using=Allowance(budget.in_flight, budget.begun_lately),
                lease_s=lease_s,
            )
        except StorageError as error:
            if gateway.name not in self._without:  # said once, and not four times a second
                log.warning("gateway.share_not_renewed", provider=gateway.name, why=error.code)
            self._without.add(gateway.name)
            return False
        self._without.discard(gateway.name)
        budget.resize(share.in_flight, share.per_second, until=asked_at + _LEASE_S)
        return share.in_flight > 0 and share.per_second > 0

    def _wake(self, provider: str) -> None:
        if self._recovery is not None:
            task = asyncio.create_task(self._wake_unknown(self._recovery, provider))
            self._waking.add(task)
            task.add_done_callback(self._waking.discard)

    async def _wake_unknown(self, recovery: SqlRecovery, provider: str) -> None:
        try:
            woken = await recovery.wake(provider, self._clock.now())
        except StorageError as error:
            log.warning("gateway.recovered", provider=provider, why=error.code)  # each comes due at its own time
        else:
            log.info("gateway.recovered", provider=provider, due_now=woken)

"""What the buyer, the bank and the operator do at Midtrans, under `/_sim/`."""

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from payments_core_simulator.control_bodies import decode
from payments_core_simulator.gate import AnyRequest, to_response
from payments_core_simulator.replies import Reply, json_reply

from . import moves
from .control_bodies import Pay, Transition, amount_sen
from .simulator import Simulator
from .values import Transaction, Try


def lever_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Return the handlers."""
    levers = Levers(simulator)

    @post("/pay")
    async def pay(request: AnyRequest) -> Response[bytes]:
        return to_response(levers.pay(decode(await request.body(), Pay)))

    @post("/transition")
    async def transition(request: AnyRequest) -> Response[bytes]:
        return to_response(levers.transition(decode(await request.body(), Transition)))

    @post("/test-notification")
    async def test_notification() -> Response[bytes]:
        return to_response(json_reply(200, simulator.send_test_probe()))

    return [pay, transition, test_notification]


class Levers:
    """What the control endpoints do, apart from HTTP."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def pay(self, wish: Pay) -> Reply:
        """Record the buyer's try; answer with its status body."""
        simulator = self._simulator
        now = simulator.now()
        wanted = Try(wish.payment_type, wish.outcome, wish.bank or "", wish.store or "")
        made = simulator.ledger.pay(wish.order_id, wanted, now)
        return self._told((made,), notify=wish.notify)

    def transition(self, wish: Transition) -> Reply:
        """Force the move; a refund is told twice, without and with the bank's confirmation."""
        simulator, ledger = self._simulator, self._simulator.ledger
        now, sen = simulator.now(), amount_sen(wish.amount)
        ledger.force(wish.transaction_id, wish.to, now, sen)
        moved = ledger.rename(wish.transaction_id, wish.currency, wish.merchant_id)
        if wish.to not in moves.REFUNDING:
            return self._told((moved,), notify=wish.notify)
        confirmed = ledger.move(moved.transaction_id, lambda one: moves.confirm_refunds(one, now))
        return self._told((moved, confirmed), notify=wish.notify)

    def _told(self, versions: tuple[Transaction, ...], *, notify: bool) -> Reply:
        if notify:
            self._simulator.tell(versions)
        return json_reply(200, self._simulator.status_body(versions[-1]))

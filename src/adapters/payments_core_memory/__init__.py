"""Honest in-memory twins of every port: for tests, examples, and a first afternoon.

They pass the same contracts as the SQL store and the real gateways, so a test may rely on them.
Nothing here survives the process.
"""

from payments_core_memory.clock import ManualClock, SequentialIds
from payments_core_memory.gateway import MemoryGateway
from payments_core_memory.orders import MemoryOrders
from payments_core_memory.store import MemoryStore

__all__ = [
    "ManualClock",
    "MemoryGateway",
    "MemoryOrders",
    "MemoryStore",
    "SequentialIds",
]

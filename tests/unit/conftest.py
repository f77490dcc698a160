"""A shop with one order, over the memory twins."""

import pytest

from unit.world import World


@pytest.fixture
def world() -> World:
    """Everything asks the gateway, as by default."""
    return World()

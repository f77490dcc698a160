"""What proves an adapter, or an application, against the laws of this package; needs `payments-core[testing]`.

- `stores`, `order_books`, `order_registries`, `gateways`: one contract class for each port. Inherit it in a test module
  and give it the fixtures its docstring names.
- `machine`: a Hypothesis state machine that does everything a buyer, a gateway, a network and a shop can do.
- `strategies`, `histories`, `samples`, `full`: values for laws and tests of your own.

Nothing of it is loaded unless a test asks: a conftest says `pytest_plugins = ["payments_core.testing"]`, or a test
module imports what it inherits. `import payments_core` never gets here.

pytest shows the values in a failed assertion of these modules too, however they were loaded.
This file has no assertion of its own, so it may be imported before it is named as a plugin (PYTEST_DONT_REWRITE).
"""

from importlib.util import find_spec

if missing := [name for name in ("hypothesis", "pytest", "pytest_asyncio") if find_spec(name) is None]:
    raise ImportError(f'{", ".join(missing)} is missing: install "payments-core[testing]"', name=missing[0])

import pytest

__all__: list[str] = []

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in ("gateways", "machine", "order_books", "order_registries", "stores", "world")
    )
)

"""What every test gets."""

from hypothesis import Phase, settings

pytest_plugins = ["payments_core.testing"]

# For `make mutation`: a law is one judge among many, asked thousands of times. The same examples every time, and a
# counterexample is enough, it need not be the smallest.
settings.register_profile(
    "mutation", max_examples=20, derandomize=True, phases=[Phase.explicit, Phase.generate], deadline=None, database=None
)

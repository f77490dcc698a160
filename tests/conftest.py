"""What every test gets."""

pytest_plugins = ["payments_core.testing"]

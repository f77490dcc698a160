"""One contract for each port; every implementation inherits it."""

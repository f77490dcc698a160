"""What the outside can ask for: load, plan, commit, act. Use cases know ports only."""

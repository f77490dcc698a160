"""Deterministic simulation: the real use cases on a seeded scheduler, with time, network, gateway and store made up.

`run.simulate(seed)` is the way in; every other module has one part of the made-up world.
"""

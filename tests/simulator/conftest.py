"""The shared simulator fixture, for the simulator's own tests."""

from tests.simulator_fixtures import simulator

__all__ = ["simulator"]

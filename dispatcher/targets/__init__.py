"""Targets: the calls that go out, one file for each, and the SDK behind them."""

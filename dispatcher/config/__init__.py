"""The configuration: one YAML file and the environment, read into `dispatcher.core.settings`."""

from dispatcher.config.loading import load

__all__ = ["load"]

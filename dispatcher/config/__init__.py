"""The configuration: one YAML file and the environment, read into `dispatcher.core.settings`."""

from dispatcher.config.loading import load
from dispatcher.config.schema import dump_schema, schema, starter
from dispatcher.config.showing import dump_effective, dump_policy, effective, policy

__all__ = ["dump_effective", "dump_policy", "dump_schema", "effective", "load", "policy", "schema", "starter"]

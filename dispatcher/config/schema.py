"""What editors and newcomers get: the JSON Schema of the file, and a first file to fill in."""

from __future__ import annotations

import json
from pathlib import Path

from dispatcher.config.models import ConfigModel

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, object]:
    """Return the JSON Schema of the configuration file."""
    return {"$schema": SCHEMA_ID, **ConfigModel.model_json_schema(by_alias=True)}


def dump_schema() -> str:
    """Return the schema as it is committed beside the example configurations."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def starter() -> str:
    """Return a first configuration with comments; it loads as it stands."""
    return Path(__file__).with_name("starter.yaml").read_text(encoding="utf-8")

"""By what an account is told. Pure."""

from enum import StrEnum


class By(StrEnum):
    """What one line of an account is. Days are those of UTC on which objects were first seen."""

    RULE = "rule"
    DAY = "day"
    EXTENSION = "extension"

"""A batch file: one IMM batch, in YAML or JSON, read as strictly as the configuration and with the same complaints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.config import imm_models as models
from dispatcher.config.document import read_document
from dispatcher.config.problems import Faults
from dispatcher.config.validation import validated
from dispatcher.core.batches import BatchAction, FastFail, ImmSettings, WrittenBatch
from dispatcher.core.location import parse_location
from dispatcher.errors import ConfigError, LocationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dispatcher.config.document import Node
    from dispatcher.core.location import Names, ParsedLocation


def load_batch(path: Path, names: Names, env: Mapping[str, str]) -> WrittenBatch:
    """Return what a batch file says. `names` is what its input may refer to; `${VAR}` is taken from `env`.

    Raises ConfigError with every problem of the file, one on a line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"cannot read the batch file {path}: {error.strerror}", hint="name an existing file with --file"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path.name} is not UTF-8", hint="save the file as UTF-8") from None
    faults = Faults()
    root = read_document(text, path.name, env, faults, first="input")
    model = validated(models.BatchFileModel, root, (), root, faults)
    place = None if model is None or model.input is None else _place(model.input, root, names, faults)
    faults.raise_if_any()
    if model is None:
        raise TypeError(model)
    return WrittenBatch(
        input=place.location if place is not None else None,
        region=place.region if place is not None else None,
        match_expressions=tuple(model.match_expressions),
        project=model.project,
        service_role=model.service_role,
        actions=None if model.actions is None else actions_of(model.actions),
        topic=None if model.notification is None else model.notification.mns_topic,
        tags=model.tags,
    )


def imm_settings(model: models.ImmModel) -> ImmSettings:
    """Return the settings of the configuration's `imm:`."""
    return ImmSettings(
        project=model.project,
        endpoint=model.endpoint,
        service_role=model.service_role,
        actions=actions_of(model.actions or ()),
        topic=None if model.notification is None else model.notification.mns_topic,
        tags=model.tags,
    )


def actions_of(written: Sequence[models.ActionModel]) -> tuple[BatchAction, ...]:
    """Return the actions of a list of models."""
    return tuple(
        BatchAction(
            each.name,
            tuple(each.parameters),
            None if each.fast_fail_policy is None else FastFail(each.fast_fail_policy),
        )
        for each in written
    )


def _place(text: str, root: Node, names: Names, faults: Faults) -> ParsedLocation | None:
    try:
        return parse_location(text, names)
    except LocationError as error:
        faults.add(root.at(("input",)).origin, ("input",), f"{error.message}. {error.hint}")
        return None

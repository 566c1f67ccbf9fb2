"""From the validated models to `Settings`: what only shows when several keys are read together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.config import models
from dispatcher.config.actions import ActionCheck, action_of
from dispatcher.config.batch_file import imm_settings
from dispatcher.config.places import BucketFacts, PlaceReader, Places, hints_of, settle_bucket
from dispatcher.config.price_models import prices_of
from dispatcher.config.secrets import SecretReader
from dispatcher.config.sources import SourceReader
from dispatcher.config.validation import validated_frame, validated_items, validated_sources
from dispatcher.core.calls import Api
from dispatcher.core.rules import Existing, MatchMode, OnUncertain, Rule, RuleSet
from dispatcher.core.settings import (
    BucketSettings,
    LedgerSettings,
    OverlapPolicy,
    Settings,
    UncertainSettings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path as FilePath

    from dispatcher.config.document import Node
    from dispatcher.config.problems import Faults, Path
    from dispatcher.core.location import Location
    from dispatcher.core.ratelimit import Rate
    from dispatcher.core.rules import Action

LEDGER_FILE = "oss-dispatcher.db"
_SQLITE = "sqlite:///"


def resolve(root: Node, file: FilePath, env: Mapping[str, str], faults: Faults) -> Settings:
    """Return the settings of a tree. Raises ConfigError with every fault, also earlier ones."""
    frame = validated_frame(root, faults)
    rules = validated_items(models.RuleModel, root, "rules", faults)
    buckets = validated_items(models.BucketModel, root, "buckets", faults)
    resolver = _Resolver(root, file, faults)
    places = PlaceReader(root, buckets, faults).places()
    handed = env.get("CREDENTIALS_DIRECTORY")
    secrets = SecretReader(file.parent, root, faults, file.parent / handed if handed else None)
    credentials = secrets.credentials(frame.credentials, ("credentials",))
    settled = resolver.buckets(buckets, places, frame, secrets)
    resolver.check_names()
    resolved = resolver.rules(rules, places, settled)
    written = validated_sources(root, faults)
    reader = SourceReader(root, file.parent, places.names.buckets, secrets, faults)
    http = reader.http(frame.http, written, callbacks=frame.callbacks is not None)
    poll, sources = reader.poll(written), reader.sources(written, http)
    callbacks = reader.callbacks(frame.callbacks, http)
    url = resolver.ledger_url(frame.ledger.url, env)
    faults.raise_if_any()
    return Settings(
        path=file,
        names=places.names,
        buckets=settled,
        rules=RuleSet(resolved, places.never_trigger),
        credentials=credentials,
        poll=poll,
        overlap=OverlapPolicy(frame.overlap),
        rates=_rates(frame.limits),
        concurrent_calls=frame.limits.concurrent_calls,
        not_started_codes=frozenset(frame.limits.not_started_codes),
        call_timeout=frame.limits.call_timeout,
        drain_timeout=frame.limits.drain_timeout,
        uncertain=UncertainSettings(frame.uncertain.after, frame.uncertain.every, frame.uncertain.sweeps),
        ledger=LedgerSettings(url, frame.ledger.keep),
        sources=sources,
        http=http,
        callbacks=callbacks,
        imm=None if frame.imm is None else imm_settings(frame.imm),
        prices=prices_of(frame.prices),
    )


def _rates(limits: models.LimitsModel) -> dict[Api, Rate]:
    return {
        Api.START_WORKFLOW: limits.start_workflow,
        Api.LIST_WORKFLOW_TASKS: limits.list_workflow_tasks,
        Api.GET_WORKFLOW_TASK: limits.get_workflow_task,
        Api.SUBMIT_MEDIA_PRODUCING_JOB: limits.submit_media_producing_job,
        Api.LIST_MEDIA_PRODUCING_JOBS: limits.list_media_producing_jobs,
        Api.GET_MEDIA_PRODUCING_JOB: limits.get_media_producing_job,
        Api.REGISTER_MEDIA_INFO: limits.register_media_info,
        Api.GET_MEDIA_INFO: limits.get_media_info,
    }


class _Resolver:
    """The checks across keys; each adds its faults where the operator wrote the cause."""

    def __init__(self, root: Node, file: FilePath, faults: Faults) -> None:
        self._root = root
        self._file = file
        self._faults = faults

    def _fault(self, path: Path, message: str) -> None:
        self._faults.add(self._root.at(path).origin, path, message)

    def buckets(
        self,
        written: Mapping[int, models.BucketModel],
        places: Places,
        frame: models.ConfigModel,
        secrets: SecretReader,
    ) -> dict[str, BucketSettings]:
        """Return the settings of every bucket that is written or named by a rule."""
        hints = hints_of(places.inputs)
        by_name = {bucket.name: (place, bucket) for place, bucket in written.items()}
        # A bucket whose entry is wrong has its fault already; guessing would only add noise.
        wrong = self._names_of_wrong_buckets(written)
        settled: dict[str, BucketSettings] = {}
        for name in dict.fromkeys((*by_name, *hints)):
            place, model = by_name.get(name, (None, None))
            hint = hints.get(name)
            path = ("buckets", place) if place is not None else hint.path if hint is not None else ()
            credentials = None
            if model is not None and model.credentials is not None:
                credentials = secrets.credentials(model.credentials, (*path, "credentials"))
            if name in wrong:
                continue
            found = settle_bucket(BucketFacts(name, path, model, hint, credentials), frame.ims.endpoint)
            if isinstance(found, str):
                self._fault(path, found)
            else:
                settled[name] = found
        return settled

    def _names_of_wrong_buckets(self, written: Mapping[int, models.BucketModel]) -> set[str]:
        items = self._root.below("buckets")
        if items is None or not isinstance(items.value, list):
            return set()
        nodes = (item.below("name") for place, item in enumerate(items.value) if place not in written)
        return {node.value for node in nodes if node is not None and isinstance(node.value, str)}

    def check_names(self) -> None:
        """Names, ids and former ids are unique among themselves; read also from rules with other faults."""
        names = self._words_of("name")
        ids = {**names, **self._words_of("id")}
        self._check_unique(names, "name", names)
        self._check_unique(ids, "id", names)
        former: dict[str, int] = {}
        for path, old in self._former():
            if old in ids.values():
                self._fault(path, f"{old!r} is the id of a rule that still exists; take it out")
            elif former.setdefault(old, int(path[1])) != path[1]:
                self._fault(path, f"{old!r} is already a former id of another rule; keep one of them")

    def _words_of(self, key: str) -> dict[int, str]:
        """Return the texts of one key of the rules, by place."""
        items = self._root.below("rules")
        if items is None or not isinstance(items.value, list):
            return {}
        nodes = ((place, item.below(key)) for place, item in enumerate(items.value))
        return {place: node.value for place, node in nodes if node is not None and isinstance(node.value, str)}

    def _former(self) -> list[tuple[Path, str]]:
        items = self._root.below("rules")
        found: list[tuple[Path, str]] = []
        for place, item in enumerate(items.value if items is not None and isinstance(items.value, list) else []):
            was = item.below("was")
            for at, node in enumerate(was.value if was is not None and isinstance(was.value, list) else []):
                if isinstance(node.value, str):
                    found.append((("rules", place, "was", at), node.value))
        return found

    def _check_unique(self, words: Mapping[int, str], key: str, names: Mapping[int, str]) -> None:
        seen: dict[str, int] = {}
        for place, word in sorted(words.items()):
            first = seen.setdefault(word, place)
            if first != place and (key == "name" or names.get(first) != names.get(place)):
                line = self._root.at(("rules", first)).origin.text
                self._fault(
                    ("rules", place, key), f"{word!r} is already the {key} of the rule in {line}; write another one"
                )

    def rules(
        self, found: Mapping[int, models.RuleModel], places: Places, buckets: Mapping[str, BucketSettings]
    ) -> list[Rule]:
        """Return the rules whose parts are all known."""
        check = ActionCheck(self._root, buckets, self._faults)
        check.check_choices()
        rules: list[Rule] = []
        for place, model in found.items():
            parsed, action = places.inputs.get(place), action_of(model)
            if parsed is None or action is None:
                continue
            rule = _rule(model, parsed.location, action)
            check.check(rule, place)
            rules.append(rule)
        return rules

    def ledger_url(self, written: str | None, env: Mapping[str, str]) -> str:
        """Return the SQLAlchemy URL of the ledger, with an absolute path."""
        if written is None:
            state = env.get("STATE_DIRECTORY", "").partition(":")[0]
            folder = self._file.parent / state
            return f"{_SQLITE}{(folder / LEDGER_FILE).absolute()}"
        scheme = written.partition("://")[0].partition("+")[0].lower()
        if scheme.startswith("postgres"):
            self._fault(
                ("ledger", "url"), "PostgreSQL is not supported in this version of oss-dispatcher; write sqlite:///FILE"
            )
            return written
        name = written.removeprefix(_SQLITE)
        if not written.startswith(_SQLITE) or not name or name.startswith(":memory:"):
            self._fault(("ledger", "url"), f"the ledger is a SQLite file; write {_SQLITE}{LEDGER_FILE}")
            return written
        return f"{_SQLITE}{(self._file.parent / name).absolute()}"


def _rule(model: models.RuleModel, location: Location, action: Action) -> Rule:
    existing = model.existing
    return Rule(
        id=model.id or model.name,
        name=model.name,
        input=location,
        extensions=model.extensions,
        action=action,
        was=tuple(model.was),
        match=MatchMode(model.match or "documented"),
        match_written=model.match is not None,
        exclude=tuple(model.exclude),
        min_size=model.min_size,
        settle=model.settle,
        existing=Existing(existing) if isinstance(existing, bool) else Existing(dispatch=True, since=existing),
        budget=model.budget,
        on_uncertain=OnUncertain(model.on_uncertain),
    )

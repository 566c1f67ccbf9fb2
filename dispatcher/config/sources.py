"""From the validated `sources:` and `http:` to their settings: names, secrets, paths, and who may reach what."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.config.fields import NEVER
from dispatcher.config.source_models import FolderModel, HttpModel, PollModel, SmqModel, SqsModel, WebhookModel
from dispatcher.core.decoding import Acceptance, Format
from dispatcher.core.settings import (
    Address,
    BearerToken,
    CallbackSettings,
    EventBridgeToken,
    FolderSettings,
    Hmac,
    HttpSettings,
    NoAuthentication,
    PollSettings,
    SmqSettings,
    SmqSignature,
    SnsSignature,
    SqsSettings,
    WebhookSettings,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path as FilePath

    from dispatcher.config.callback_models import CallbacksModel
    from dispatcher.config.document import Node
    from dispatcher.config.problems import Faults, Path
    from dispatcher.config.secrets import SecretReader
    from dispatcher.config.source_models import NotifyingModel, SourceModel
    from dispatcher.core.settings import Authentication, Credentials, SourceSettings

_SQS_HOST = re.compile(r"https?://(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.amazonaws\.com(?:\.cn)?[:/]")
_TAKEN_NAMES = frozenset({"existing", "backfill", "poll"})
_WAYS = "token_file, hmac_secret_file with hmac_header, eventbridge_token_file, or signature: smq or sns"


@dataclass(slots=True)
class SourceReader:
    """Reads the sources. `buckets` are those that are known."""

    root: Node
    folder: FilePath
    buckets: Collection[str]
    secrets: SecretReader
    faults: Faults
    _names: dict[str, int] = field(default_factory=dict)
    _paths: dict[str, int] = field(default_factory=dict)

    def poll(self, written: Mapping[int, SourceModel]) -> PollSettings | None:
        """Return how buckets are listed: as by default where nothing is written, None for `every: never`."""
        found = {place: model for place, model in written.items() if isinstance(model, PollModel)}
        if not found:
            return PollSettings()
        first, *more = sorted(found)
        for place in more:
            self._fault(("sources", place), "buckets are polled once; keep one entry of type poll")
        model = found[first]
        if model.every != NEVER:
            return PollSettings(model.every, model.requests)
        if len(found) == len(written):
            self._fault(("sources", first, "every"), "nothing would ever be seen; add a source, or take `every` out")
        return None

    def sources(self, written: Mapping[int, SourceModel], http: HttpSettings) -> tuple[SourceSettings, ...]:
        """Return the sources beside the poll, in the order of the file."""
        found: list[SourceSettings] = []
        for place, model in written.items():
            path = ("sources", place)
            match model:
                case PollModel():
                    continue
                case SmqModel():
                    found.append(self._smq(model, path))
                case SqsModel():
                    found.append(self._sqs(model, path))
                case WebhookModel():
                    found.append(self._webhook(model, path, http))
                case FolderModel():
                    found.append(self._folder(model, path))
        return tuple(found)

    def http(self, model: HttpModel, written: Mapping[int, SourceModel], *, callbacks: bool) -> HttpSettings:
        """Return the listeners. Webhooks and callbacks share one with the operator's pages only on loopback."""
        listen = model.listen or HttpSettings().listen
        public = model.public.listen
        has_webhooks = callbacks or any(isinstance(each, WebhookModel) for each in written.values())
        if public is None:
            if has_webhooks and not is_loopback(listen):
                self._fault(
                    ("http", "listen"),
                    "the status page would be reachable wherever webhooks and callbacks are;"
                    " write public: {listen: host:port} beside it for those alone",
                )
            public = listen if is_loopback(listen) else HttpSettings().public
        elif public == listen and not is_loopback(listen):
            self._fault(("http", "public", "listen"), f"{public} is the operator's listener too; write another port")
        token = self.secrets.secret(model.token, model.token_file, ("http", "token"))
        if model.writes and token is None:
            self._fault(
                ("http", "writes"),
                f"anybody who reaches {listen} could retry, skip and pause; write token_file: beside it",
            )
        return HttpSettings(
            listen,
            public,
            listen_written=model.listen is not None,
            token=token if model.writes is not False else None,
            hosts=tuple(model.hosts),
        )

    def callbacks(self, model: CallbacksModel | None, http: HttpSettings) -> CallbackSettings | None:
        """Return how callbacks of IMS are taken. Without a key only a loopback listener takes them."""
        if model is None:
            return None
        key = self.secrets.secret(model.auth_key, model.auth_key_file, ("callbacks", "auth_key"))
        if key is None and not is_loopback(http.public):
            self._fault(
                ("callbacks",),
                f"anybody who reaches {http.public} could post here; write auth_key_file: with the AuthKey that IMS"
                " signs callbacks with (AuthSwitch on), or listen on 127.0.0.1 only",
            )
        return CallbackSettings(model.url, key)

    def _smq(self, model: SmqModel, path: Path) -> SmqSettings:
        return SmqSettings(
            name=self._name(model.name, f"smq:{model.queue}", path),
            endpoint=model.endpoint,
            queue=model.queue,
            credentials=self._credentials(model, path),
            format=_format(model),
            accept=_acceptance(model),
            wait=model.wait,
            visibility=model.visibility,
            buckets=self._buckets(model, path),
        )

    def _sqs(self, model: SqsModel, path: Path) -> SqsSettings:
        named = _SQS_HOST.match(model.queue_url)
        region = model.region or (None if named is None else named[1] or named[2])
        if region is None:
            self._fault((*path, "queue_url"), "the URL does not tell the region; write region: beside it")
        return SqsSettings(
            name=self._name(model.name, f"sqs:{model.queue_url.rpartition('/')[2]}", path),
            queue_url=model.queue_url,
            region=region or "",
            endpoint=model.endpoint,
            credentials=self._credentials(model, path),
            format=_format(model),
            accept=_acceptance(model),
            buckets=self._buckets(model, path),
        )

    def _webhook(self, model: WebhookModel, path: Path, http: HttpSettings) -> WebhookSettings:
        place = int(path[1])
        first = self._paths.setdefault(model.path, place)
        if first != place:
            line = self.root.at(("sources", first)).origin.text
            self._fault((*path, "path"), f"{model.path} is already the path of the webhook in {line}; write another")
        authentication = self._authentication(model, path)
        if isinstance(authentication, NoAuthentication) and not is_loopback(http.public):
            self._fault(
                path, f"anybody who reaches {http.public} could post here; write {_WAYS}, or listen on 127.0.0.1 only"
            )
        return WebhookSettings(
            name=self._name(model.name, f"webhook:{model.path}", path),
            path=model.path,
            authentication=authentication,
            format=_format(model),
            accept=_acceptance(model),
            buckets=self._buckets(model, path),
        )

    def _authentication(self, model: WebhookModel, path: Path) -> Authentication:
        """Return how a webhook knows its sender. Several ways at once would be as weak as the weakest."""
        token = self.secrets.secret(model.token, model.token_file, (*path, "token"))
        key = self.secrets.secret(model.hmac_secret, model.hmac_secret_file, (*path, "hmac_secret"))
        bus = self.secrets.secret(model.eventbridge_token, model.eventbridge_token_file, (*path, "eventbridge_token"))
        if key is not None and model.hmac_header is None:
            self._fault(path, "hmac_secret needs hmac_header: the header in which the sender puts the signature")
        if key is None and model.hmac_header is not None:
            self._fault((*path, "hmac_header"), "without hmac_secret_file nothing is verified; write it")
        if model.signature == "sns" and not model.topic_arns:
            self._fault(path, "signature: sns proves only that some topic sent it; write topic_arns: [arn:…]")
        if model.signature != "sns" and model.topic_arns:
            self._fault((*path, "topic_arns"), "this belongs to signature: sns; write it too, or take this out")
        ways: tuple[Authentication | None, ...] = (
            None if token is None else BearerToken(token),
            None if key is None else Hmac(key, model.hmac_header or ""),
            None if bus is None else EventBridgeToken(bus),
            SmqSignature() if model.signature == "smq" else None,
            SnsSignature(tuple(model.topic_arns)) if model.signature == "sns" else None,
        )
        found = [way for way in ways if way is not None]
        if len(found) > 1:
            self._fault(path, f"several ways of authentication are written; keep one of {_WAYS}")
        return found[0] if found else NoAuthentication()

    def _folder(self, model: FolderModel, path: Path) -> FolderSettings:
        bucket = model.bucket
        if bucket is None:
            bucket = next(iter(self.buckets)) if len(self.buckets) == 1 else ""
            if not bucket:
                self._fault(path, "there are several buckets; write bucket: the one that this folder mirrors")
        elif bucket not in self.buckets:
            self._fault((*path, "bucket"), _unknown_bucket(bucket, self.buckets))
        if model.prefix.startswith("/"):
            self._fault((*path, "prefix"), "a key has no slash in front; take it out")
        return FolderSettings(
            name=self._name(model.name, f"folder:{model.path}", path),
            path=(self.folder / model.path).absolute(),
            bucket=bucket,
            prefix=model.prefix,
            scan_every=model.scan_every,
            settle=model.settle,
            polling=model.polling,
        )

    def _name(self, written: str | None, default: str, path: Path) -> str:
        name = written or default
        place = int(path[1])
        if name in _TAKEN_NAMES or name.startswith("poll:"):
            self._fault((*path, "name"), f"{name} is what the ledger calls a source of its own; write another name")
        first = self._names.setdefault(name, place)
        if first != place:
            line = self.root.at(("sources", first)).origin.text
            self._fault((*path, "name"), f"{name!r} is already the name of the source in {line}; write another one")
        return name

    def _buckets(self, model: NotifyingModel, path: Path) -> tuple[str, ...]:
        for at, bucket in enumerate(model.buckets):
            if bucket not in self.buckets:
                self._fault((*path, "buckets", at), _unknown_bucket(bucket, self.buckets))
        return tuple(model.buckets)

    def _credentials(self, model: SmqModel | SqsModel, path: Path) -> Credentials | None:
        if model.credentials is None:
            return None
        return self.secrets.credentials(model.credentials, (*path, "credentials"))

    def _fault(self, path: Path, message: str) -> None:
        self.faults.add(self.root.at(path).origin, path, message)


def is_loopback(address: Address) -> bool:
    """Tell whether only this machine reaches the address. A name other than localhost is not believed."""
    if address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False


def _format(model: NotifyingModel) -> Format | None:
    return None if model.format is None else Format(model.format)


def _acceptance(model: NotifyingModel) -> Acceptance:
    return Acceptance(replication="replication" in model.accept, append="append" in model.accept)


def _unknown_bucket(bucket: str, known: Collection[str]) -> str:
    return f"no rule and no entry of `buckets` names {bucket!r}; there are {', '.join(sorted(known)) or 'none'}"

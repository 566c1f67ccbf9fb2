"""Bodies of notifications as their senders write them, with a key of one's choice."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

ETAG = "0123456789ABCDEF0123456789ABCDEF"
AT = "2026-03-14T15:09:26.535Z"


def oss_event(key: str, name: str = "ObjectCreated:PutObject", **changed: Any) -> dict[str, Any]:
    """One event as real messages nest it: region and request beside `oss`."""
    return {
        "eventName": name,
        "eventSource": "acs:oss",
        "eventTime": AT,
        "eventVersion": "1.0",
        "oss": {
            "bucket": {"arn": "acs:oss:cn-x:1:media", "name": "media", "ownerIdentity": "1", "virtualBucket": ""},
            "object": {"key": key, "eTag": ETAG, "size": 7, "deltaSize": -3, **changed},
            "ossSchemaVersion": "1.0",
            "ruleId": "rule",
        },
        "region": "cn-x",
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"requestId": "5FF0"},
        "userIdentity": {"principalId": "1"},
    }


def oss_inside(key: str) -> dict[str, Any]:
    """The same as the documentation's sample nests it: everything inside `oss`."""
    event = oss_event(key)
    for name in ("region", "requestParameters", "responseElements", "userIdentity"):
        event["oss"][name] = event.pop(name)
    return event


def oss(*events: dict[str, Any]) -> bytes:
    return json.dumps({"events": list(events)}).encode()


def cloud_event(key: str, kind: str = "oss:ObjectCreated:PutObject") -> bytes:
    data = oss_event(key)
    del data["eventName"], data["eventTime"]
    return json.dumps(
        {
            "id": "1",
            "source": "acs.oss",
            "specversion": "1.0",
            "type": kind,
            "subject": f"acs:oss:cn-x:1:media/{key}",
            "time": AT,
            "data": data,
        }
    ).encode()


def s3_record(written: str, name: str = "ObjectCreated:Put", source: str = "aws:s3", **changed: Any) -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": source,
        "awsRegion": "eu-west-1",
        "eventTime": AT,
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "media", "arn": "arn:aws:s3:::media"},
            "object": {"key": written, "size": 7, "eTag": ETAG.lower(), "sequencer": "0A", **changed},
        },
    }


def s3(*records: dict[str, Any]) -> bytes:
    return json.dumps({"Records": list(records)}).encode()


def aws_key(key: str) -> str:
    """Form-encoded with slashes kept, as S3 writes it."""
    return quote(key, safe="/ ").replace(" ", "+")


def minio_key(key: str) -> str:
    """Go's QueryEscape, as MinIO writes it: slashes are escaped too."""
    return quote_plus(key, safe="")


def minio(key: str) -> bytes:
    record = s3_record(minio_key(key), "s3:ObjectCreated:Put", "minio:s3")
    return json.dumps({"EventName": "s3:ObjectCreated:Put", "Key": f"media/{key}", "Records": [record]}).encode()


def ceph(key: str) -> bytes:
    return s3({**s3_record(key, "ObjectCreated:Put", "ceph:s3", size="7"), "eventId": "1", "opaqueData": ""})


def eventbridge(key: str, reason: str = "PutObject", kind: str = "Object Created") -> bytes:
    return json.dumps(
        {
            "version": "0",
            "id": "1",
            "detail-type": kind,
            "source": "aws.s3",
            "time": AT,
            "detail": {
                "version": "0",
                "bucket": {"name": "media"},
                "object": {"key": key, "size": 7, "etag": ETAG.lower(), "sequencer": "0A"},
                "reason": reason,
            },
        }
    ).encode()


def seaweedfs(path: str, kind: str = "create", entry: dict[str, Any] | None = None, **extended: str) -> bytes:
    """What the filer of SeaweedFS 4.48 sends for an object that came by S3, without its chunks."""
    parent, _, name = path.rpartition("/")
    marks = {"Seaweed-X-Amz-ETag": ETAG.lower(), **{key.replace("_", "-"): value for key, value in extended.items()}}
    new_entry = {
        "name": name,
        "attributes": {"file_size": 7, "mtime": 1795331741, "crtime": 1795331741, "file_mode": 432},
        "extended": {key: base64.b64encode(value.encode()).decode() for key, value in marks.items()},
        **(entry or {}),
    }
    return json.dumps(
        {
            "key": path,
            "event_type": kind,
            "message": {"new_entry": new_entry, "new_parent_path": parent, "delete_chunks": True, "signatures": [1]},
        }
    ).encode()

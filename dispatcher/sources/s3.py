"""A bucket of an S3-compatible store: requests signed by botocore (AWS signature version 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatcher.core.settings import Credentials, Secret
from dispatcher.errors import CredentialsError
from dispatcher.sources.store import StoreBucket

if TYPE_CHECKING:
    from collections.abc import Callable


def keys_of_boto3() -> Callable[[], Credentials]:
    """Return a provider that asks boto3's chain (environment, profiles, container, instance) and renews.

    Raises CredentialsError when called and the chain finds nothing.
    """
    import boto3  # noqa: PLC0415 - slow to import, and not needed for OSS

    session = boto3.Session()

    def provide() -> Credentials:
        found = session.get_credentials()
        if found is None:
            raise CredentialsError(
                "no credentials for the bucket: boto3's chain found none",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `credentials:` of the bucket",
            )
        frozen = found.get_frozen_credentials()
        token = Secret(frozen.token) if frozen.token else None
        return Credentials(frozen.access_key, Secret(frozen.secret_key), token)

    return provide


@dataclass
class S3Bucket(StoreBucket):
    """A bucket over the S3 protocol."""

    def _sign(self, method: str, target: str) -> dict[str, str]:
        from botocore.auth import S3SigV4Auth  # noqa: PLC0415 - slow to import
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - as above
        from botocore.credentials import ReadOnlyCredentials  # noqa: PLC0415 - as above

        request: Any = AWSRequest(method, self._host + target)
        signer: Any = S3SigV4Auth(ReadOnlyCredentials(*self._keys()), "s3", self.bucket.region)
        signer.add_auth(request)
        return {name: str(value) for name, value in request.headers.items()}

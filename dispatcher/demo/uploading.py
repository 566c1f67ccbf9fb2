"""The media team of the demo: writes objects with boto3, as any program would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatcher.core.events import normalise_etag
from dispatcher.demo.story import BUCKETS, MULTIPART_SIZE

if TYPE_CHECKING:
    from dispatcher.demo.s3server import S3Server
    from dispatcher.demo.story import Upload

_PART = 5 * 1024 * 1024


class MediaTeam:
    """An S3 client that makes the demo's buckets and writes its uploads."""

    def __init__(self, server: S3Server) -> None:
        import boto3  # noqa: PLC0415 - half a second that only the demo pays
        from botocore.config import Config  # noqa: PLC0415 - as above

        self._s3: Any = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name=server.region,
            aws_access_key_id=server.access_key_id,
            aws_secret_access_key=server.access_key_secret.value,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    def make_buckets(self) -> None:
        """Create the buckets of the story."""
        for bucket in BUCKETS:
            self._s3.create_bucket(Bucket=bucket)

    def write(self, upload: Upload) -> str:
        """Write the object and return its etag, normalised."""
        if len(upload.content) >= MULTIPART_SIZE:
            answer = self._write_in_parts(upload)
        else:
            answer = self._s3.put_object(Bucket=upload.bucket, Key=upload.key, Body=upload.content)
        return normalise_etag(answer["ETag"])

    def close(self) -> None:
        """Close the connections."""
        self._s3.close()

    def _write_in_parts(self, upload: Upload) -> Any:  # noqa: ANN401 - boto3 ships no types
        place = {"Bucket": upload.bucket, "Key": upload.key}
        begun = {**place, "UploadId": self._s3.create_multipart_upload(**place)["UploadId"]}
        parts = []
        for number, start in enumerate(range(0, len(upload.content), _PART), start=1):
            piece = upload.content[start : start + _PART]
            etag = self._s3.upload_part(**begun, PartNumber=number, Body=piece)["ETag"]
            parts.append({"PartNumber": number, "ETag": etag})
        return self._s3.complete_multipart_upload(**begun, MultipartUpload={"Parts": parts})

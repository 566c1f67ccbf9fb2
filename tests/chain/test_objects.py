"""Objects as people make them: every key, overwrites, copies; rules that come and move; what was there before."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from dispatcher.errors import ExitCode
from tests.chain.harness import rule
from tests.chain.test_bad_input import ALL, baseline, once

if TYPE_CHECKING:
    from tests.chain.harness import Chain

PART = 5 * 1024 * 1024
"""Bytes. The smallest part that S3 takes, but for the last."""


def test_every_key_goes_through_the_whole_chain_as_it_is(chain: Chain) -> None:
    baseline(chain)
    keys = [
        "in/two  spaces and a trailing one .mp4",
        "in/plus+plus.mp4",
        "in/100%.mp4",
        "in/%2Fencoded%20.mp4",
        "in/a&b=c?d#e;f.mp4",
        "in/quote\"s'and<angle>.mp4",
        "in/tab\tnewline\n.mp4",
        "in/bell\x07del\x7f.mp4",
        "in/\u89c6\u9891/\u7535\u5f71.mp4",
        "in/emoji-\U0001f3ac.mp4",
        "in/\u202egnp.exe.mp4",
        "in/\u05e9\u05dc\u05d5\u05dd.mp4",
        "in/\u00e9-composed.mp4",
        "in/e\u0301-decomposed.mp4",
        "in/\uffee-before-astral.mp4",
        "in/~tilde-._!*().mp4",
        "in/UPPER.MP4",
        "in/no-extension",
        "in/" + "/".join(["d" * 200] * 5) + "/" + "k" * 12 + ".mp4",
    ]
    keys[-1] = keys[-1][: -len(".mp4")].ljust(1_020, "k") + ".mp4"
    assert len(keys[-1]) == 1_024
    for key in keys:
        chain.put(key)
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once(*keys)
    assert {row.key for row in chain.rows()} == set(keys)
    log = chain.log.read_text()
    assert not {"\u202e", "\x07", "\x7f"} & set(log)
    listed = chain.command("dispatches", "list", "--limit", "50").stdout
    assert not {"\u202e", "\x07", "\x7f"} & set(listed)


def test_an_object_and_a_folder_of_one_name_are_two_things(chain: Chain) -> None:
    baseline(chain)
    chain.put("in/show/episode.mp4")
    chain.put("in/show", b"an object where a folder is")
    chain.put("in/film/", b"")
    assert chain.run_once() == ExitCode.DONE
    listed = {each["Key"] for each in chain.client.list_objects_v2(Bucket=chain.bucket)["Contents"]}
    assert chain.accepted() == once(*(key for key in listed if not key.endswith("/")))
    assert ("in/show/episode.mp4", "wf-all") in chain.accepted()


def test_new_bytes_start_again_and_the_same_bytes_or_new_metadata_do_not(chain: Chain) -> None:
    baseline(chain)
    chain.put("in/a.mp4", b"first")
    chain.put("in/b.mp4", b"first")
    chain.put("in/c.mp4", b"first")
    assert chain.run_once() == ExitCode.DONE
    chain.put("in/a.mp4", b"second, longer")
    chain.put("in/b.mp4", b"first")
    source = {"Bucket": chain.bucket, "Key": "in/c.mp4"}
    chain.client.copy_object(
        Bucket=chain.bucket, Key="in/c.mp4", CopySource=source, Metadata={"edited": "yes"}, MetadataDirective="REPLACE"
    )
    assert chain.client.head_object(Bucket=chain.bucket, Key="in/c.mp4")["Metadata"] == {"edited": "yes"}
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once("in/a.mp4", "in/b.mp4", "in/c.mp4") + once("in/a.mp4")
    chain.client.delete_object(Bucket=chain.bucket, Key="in/b.mp4")
    assert [chain.run_once() for _ in range(3)] == [ExitCode.DONE] * 3
    chain.put("in/b.mp4", b"first")  # deleted, forgotten by the listing, uploaded again: still the same object
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted()["in/b.mp4", "wf-all"] == 1


def test_a_multipart_upload_starts_once_when_it_is_complete(chain: Chain) -> None:
    place = {"Bucket": chain.bucket, "Key": "in/big.mp4"}
    upload = chain.client.create_multipart_upload(**place)["UploadId"]
    parts = []
    for number, size in ((1, PART), (2, 1_000)):
        sent = chain.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=b"p" * size)
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    baseline(chain)  # the upload began before it, and is not there yet
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once()
    chain.client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    assert chain.run_once() == ExitCode.DONE
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once("in/big.mp4")
    [row] = chain.rows()
    assert row.size == PART + 1_000
    assert row.etag.endswith("-2")


# -- what was there before, and rules that change ------------------------------------------------------


def test_existing_objects_start_where_a_rule_asks_for_them(chain: Chain) -> None:
    for key in ("in/a.mp4", "in/sub/b.mp4"):
        chain.put(key)
    modified = chain.client.head_object(Bucket=chain.bucket, Key="in/sub/b.mp4")["LastModified"]
    before, after = (modified + timedelta(days=days) for days in (-1, 1))
    chain.configure(
        rule("none", "in/"),
        rule("every", "in/", existing="dispatch"),
        rule("since", "in/", existing={"since": before.isoformat()}),
        rule("later", "in/", existing={"since": after.isoformat()}),
    )
    assert chain.run_once() == ExitCode.DONE
    expected = once("in/a.mp4", "in/sub/b.mp4", workflow="wf-every")
    expected += once("in/a.mp4", "in/sub/b.mp4", workflow="wf-since")
    assert chain.accepted() == expected
    assert {row.source for row in chain.rows()} == {"existing"}
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == expected


def test_a_rule_added_later_starts_what_comes_later_or_the_existing_ones_it_asks_for(chain: Chain) -> None:
    baseline(chain)
    chain.put("in/a.mp4")
    assert chain.run_once() == ExitCode.DONE
    chain.configure(ALL, rule("late", "in/"), rule("all-of-it", "in/", existing="dispatch"))
    chain.put("in/b.mp4")
    assert chain.run_once() == ExitCode.DONE
    expected = once("in/a.mp4", "in/b.mp4") + once("in/b.mp4", workflow="wf-late")
    expected += once("in/a.mp4", "in/b.mp4", workflow="wf-all-of-it")
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == expected


def test_a_rule_that_moves_starts_nothing_old_and_misses_nothing_new(chain: Chain) -> None:
    chain.put("old.mp4")
    chain.put("in/cam/old.mp4")
    chain.configure(rule("all", "in/"))
    assert chain.run_once() == ExitCode.DONE
    expected: Counter[tuple[str, str]] = Counter()
    # Wider, narrower, wider, aside: each time one object comes while nothing runs, and one afterwards.
    for number, prefix in enumerate(["", "in/cam/", "in/", "other/"]):
        key = f"in/cam/{number}.mp4" if prefix != "other/" else f"other/{number}.mp4"
        chain.put(key)
        chain.configure(rule("all", prefix or f"oss://{chain.bucket}/"))
        assert chain.run_once() == ExitCode.DONE, prefix
        if prefix != "other/":
            expected += once(key)
        assert chain.accepted() == expected, prefix
        chain.put(f"{prefix}after-{number}.mp4")
        assert chain.run_once() == ExitCode.DONE, prefix
        expected += once(f"{prefix}after-{number}.mp4")
        assert chain.accepted() == expected, prefix


# -- run and its ends ---------------------------------------------------------------------------------------


def test_shadow_records_what_would_start_and_calls_nothing(chain: Chain) -> None:
    baseline(chain)
    daemon = chain.start("--shadow")
    before = chain.simulator.requests
    chain.put("in/a.mp4")
    chain.wait_until(lambda: [(row.state, row.reason) for row in chain.rows()] == [("skipped", "SHADOW")], "the row")
    assert chain.kill(daemon, signal.SIGTERM) == ExitCode.DONE
    assert chain.run_once("--shadow") == ExitCode.DONE
    assert chain.simulator.requests == before
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once()
    retried = chain.command("dispatches", "retry", "--state", "skipped", "--yes")
    assert retried.returncode == ExitCode.DONE
    assert chain.run_once() == ExitCode.DONE
    assert chain.accepted() == once("in/a.mp4")

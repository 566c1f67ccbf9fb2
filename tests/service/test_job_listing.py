"""Listing jobs: windows and endpoints one after the other, each job once, and no page more than is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dispatcher.config import load
from dispatcher.core.calls import Endpoint
from dispatcher.core.jobs import EditingJob, JobFilter, Order, QuickJob, QuickJobFilter, Window
from dispatcher.errors import UsageError
from dispatcher.service.job_listing import JobListing, endpoints_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dispatcher.core.settings import Settings

NOW = datetime(2026, 3, 31, tzinfo=UTC)
ONE, OTHER = Endpoint("cn-hangzhou", "https://one.example"), Endpoint("cn-beijing", "https://other.example")
EDGE = NOW - timedelta(days=30)
TIMES = {"new": NOW - timedelta(days=1), "edge": EDGE, "old": NOW - timedelta(days=40)}


@dataclass
class Service:
    """Jobs by endpoint, listed with both ends of the window."""

    jobs: dict[str, dict[str, datetime | None]]
    read: list[str] = field(default_factory=list)

    def list_jobs(self, endpoint: Endpoint, asked: JobFilter, window: Window) -> Iterator[EditingJob]:
        jobs = sorted(self.jobs[endpoint.url].items(), key=lambda job: job[1] or NOW, reverse=asked.order is Order.DESC)
        for name, at in jobs:
            if at is None or window.since <= at <= window.until:
                self.read.append(name)
                yield EditingJob(name, "Success", created_at=at)

    def get_job(self, endpoint: Endpoint, job_id: str) -> EditingJob | None:
        return EditingJob(job_id, "Success") if job_id in self.jobs[endpoint.url] else None

    def list_quick_jobs(self, endpoint: Endpoint, _asked: QuickJobFilter) -> Iterator[QuickJob]:
        yield from (QuickJob(name, "Script", "Finished") for name in self.jobs[endpoint.url])


def ids(found: Iterator[tuple[EditingJob, str]]) -> list[str]:
    return [job.job_id for job, _ in found]


@pytest.mark.parametrize(
    ("order", "expected"), [(Order.DESC, ["new", "edge", "old"]), (Order.ASC, ["old", "edge", "new"])]
)
def test_a_job_at_the_edge_of_two_windows_is_listed_once(order: Order, expected: list[str]) -> None:
    listing = JobListing(Service({ONE.url: dict(TIMES)}), (ONE,), NOW)
    assert sorted(ids(listing.editing(JobFilter(order=order), NOW - timedelta(days=50), None, None))) == sorted(
        expected
    )


def test_a_job_without_a_time_is_listed_once_too() -> None:
    listing = JobListing(Service({ONE.url: {"timeless": None}}), (ONE,), NOW)
    assert ids(listing.editing(JobFilter(), NOW - timedelta(days=90), None, None)) == ["timeless"]


def test_without_a_time_the_last_30_days_are_listed() -> None:
    listing = JobListing(Service({ONE.url: dict(TIMES)}), (ONE,), NOW)
    assert ids(listing.editing(JobFilter(), None, None, None)) == ["new", "edge"]
    assert ids(listing.editing(JobFilter(), None, EDGE, None)) == ["edge", "old"]


def test_endpoints_follow_each_other_and_say_where() -> None:
    service = Service({ONE.url: {"a": NOW}, OTHER.url: {"b": NOW}})
    listing = JobListing(service, (ONE, OTHER), NOW)
    found = [(job.job_id, region) for job, region in listing.editing(JobFilter(), None, None, None)]
    assert found == [("a", "cn-hangzhou"), ("b", "cn-beijing")]
    assert [(each.job.job_id, each.region) for each in listing.quick(QuickJobFilter(), 1)] == [("a", "cn-hangzhou")]
    job = listing.one("b")
    assert job is not None
    assert job[1] == "cn-beijing"
    assert listing.one("c") is None


def test_a_limit_reads_no_more_than_it_needs() -> None:
    service = Service({ONE.url: dict(TIMES)})
    listing = JobListing(service, (ONE,), NOW)
    assert ids(listing.editing(JobFilter(), NOW - timedelta(days=50), None, 1)) == ["new"]
    assert service.read == ["new"]


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return load(path, {})


RULES = """\
rules:
  - {name: a, input: "http://a.oss-cn-hangzhou.aliyuncs.com/in/", workflow: w}
  - {name: b, input: "http://b.oss-cn-beijing.aliyuncs.com/in/", workflow: w}
  - {name: c, input: "http://c.oss-cn-beijing.aliyuncs.com/in/", workflow: w}
"""


def test_each_endpoint_of_the_rules_is_asked_once(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, RULES)
    assert [each.region for each in endpoints_of(settings, None)] == ["cn-hangzhou", "cn-beijing"]
    assert [each.region for each in endpoints_of(settings, "cn-beijing")] == ["cn-beijing"]
    with pytest.raises(UsageError) as unknown:
        endpoints_of(settings, "cn-shanghai")
    assert "cn-beijing, cn-hangzhou" in unknown.value.hint


def test_one_url_for_two_regions_is_asked_once(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, RULES + "ims: {endpoint: 'http://127.0.0.1:9'}")
    assert [each.url for each in endpoints_of(settings, None)] == ["http://127.0.0.1:9"]

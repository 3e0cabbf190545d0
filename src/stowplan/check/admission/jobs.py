"""Jobs and CronJobs."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import cron_job, job
from stowplan.check.admission._register import BATCH, Context, Problem, object_check
from stowplan.check.admission._syntax import domain_path, integer, short
from stowplan.check.objects import Object, Path, dig, mapping

_INDEXED_PARALLELISM = 100_000
_DIGITS = 8
_GENERATED = {
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
}
_MONTHS = {
    n: i for i, n in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}
_DAYS = {n: i for i, n in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_WORDS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_DURATION = re.compile(
    r"[-+]?([0-9]*\.?[0-9]+|[0-9]+\.)(ns|us|µs|μs|ms|s|m|h)([0-9]*\.?[0-9]+(ns|us|µs|μs|ms|s|m|h))*\Z"
)


def job_spec(item: Object) -> tuple[Mapping[str, Any], Path]:
    """The specification of a Job, or of the jobs of a CronJob, and its place."""
    path: Path = ("spec", "jobTemplate", "spec") if item.kind == "CronJob" else ("spec",)
    return mapping(dig(item.data, path)), path


@object_check(
    "M177",
    "Job CronJob",
    reason="The API server refuses negative counts of a Job, and counts that do not fit how it completes.",
    source=f"{BATCH}: validateJobSpec.",
    bad=job("completionMode: Indexed\nparallelism: 2"),
    good=job("completionMode: Indexed\ncompletions: 4"),
)
def job_counts(item: Object, _context: Context) -> Iterator[Problem]:
    """Counts of a Job are not negative and fit its completion mode."""
    spec, path = job_spec(item)
    for field in (
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ):
        number = integer(spec.get(field))
        if number is not None and number < 0:
            yield Problem((*path, field), f"{field} {number} is negative")
    manager = spec.get("managedBy")
    if isinstance(manager, str) and (wrong := domain_path(manager)):
        yield Problem(
            (*path, "managedBy"), f"managedBy {short(manager)} {wrong}", "write for example example.com/manager"
        )
    indexed, completions = spec.get("completionMode") == "Indexed", integer(spec.get("completions"))
    parallel, failed = integer(spec.get("parallelism")), integer(spec.get("maxFailedIndexes"))
    defaulted = spec.get("parallelism") is None and item.kind == "Job"
    if indexed and spec.get("completions") is None and not defaulted:
        yield Problem((*path, "completionMode"), "the completion mode Indexed needs completions")
    if indexed and parallel is not None and parallel > _INDEXED_PARALLELISM:
        yield Problem(
            (*path, "parallelism"),
            f"parallelism {parallel:,} of an Indexed Job is more than {_INDEXED_PARALLELISM:,}",
        )
    if not indexed and spec.get("backoffLimitPerIndex") is not None:
        yield Problem(
            (*path, "backoffLimitPerIndex"),
            "backoffLimitPerIndex needs the completion mode Indexed",
        )
    if failed is not None and spec.get("backoffLimitPerIndex") is None:
        yield Problem((*path, "maxFailedIndexes"), "maxFailedIndexes needs backoffLimitPerIndex")
    if failed is not None and indexed and completions is not None and failed > completions:
        yield Problem(
            (*path, "maxFailedIndexes"),
            f"maxFailedIndexes {failed} is more than completions {completions}",
        )


@object_check(
    "M178",
    "Job CronJob",
    reason="The API server makes the selector of a Job itself and refuses one that it did not make.",
    source=f"{BATCH}: ValidateGeneratedSelector and ValidateJobTemplateSpec.",
    bad=job("selector:\n  matchLabels: {app: convert}"),
    good=job(),
)
def job_selector(item: Object, _context: Context) -> Iterator[Problem]:
    """A Job leaves its selector to the API server."""
    spec, path = job_spec(item)
    selector = spec.get("selector")
    if item.kind == "CronJob":
        if selector is not None:
            yield Problem(
                (*path, "selector"),
                "the jobs of a CronJob take no selector",
                "remove selector",
                key=True,
            )
        if spec.get("manualSelector") is True:
            yield Problem(
                (*path, "manualSelector"),
                "the jobs of a CronJob take no manualSelector",
                "remove it",
                key=True,
            )
    elif spec.get("manualSelector") is True and selector is None:
        yield Problem((*path, "manualSelector"), "manualSelector: true needs a selector")
    elif spec.get("manualSelector") is not True and set(mapping(mapping(selector).get("matchLabels"))) - _GENERATED:
        yield Problem((*path, "selector"), "a Job takes no selector of its own", "remove selector", key=True)


@object_check(
    "M179",
    "CronJob",
    reason="The API server refuses a schedule that cron cannot read, and negative limits.",
    source=f"{BATCH}: validateCronJobSpec; https://pkg.go.dev/github.com/robfig/cron/v3 (ParseStandard).",
    bad=cron_job('"0 3 * *"'),
    good=cron_job('"0 3 * * mon-fri"'),
)
def schedule(item: Object, _context: Context) -> Iterator[Problem]:
    """A CronJob's schedule can be read, and its limits are not negative."""
    value = item.spec.get("schedule")
    if isinstance(value, str) and (wrong := schedule_problem(value)):
        yield Problem(("spec", "schedule"), f"the schedule {short(value)} {wrong}")
    for field in (
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ):
        number = integer(item.spec.get(field))
        if number is not None and number < 0:
            yield Problem(("spec", field), f"{field} {number} is negative")
    zone = item.spec.get("timeZone")
    if isinstance(zone, str) and _is_no_zone(zone):
        yield Problem(("spec", "timeZone"), f"{short(zone)} is no time zone", "use a name such as Etc/UTC")


def _is_no_zone(name: str) -> bool:
    """By the time zones of this machine, where it has any."""
    if name.strip() != name or name.lower() in ("", "local"):
        return True
    try:
        zoneinfo.ZoneInfo("Etc/UTC")
    except zoneinfo.ZoneInfoNotFoundError:
        return False
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return True
    return False


def schedule_problem(value: str) -> str:
    """What keeps a text from being a schedule."""
    if "TZ=" in value:
        return "may not hold a time zone; use spec.timeZone"
    if value.startswith("@"):
        if value in _WORDS or (value.startswith("@every ") and _DURATION.match(value.removeprefix("@every "))):
            return ""
        return "is no word that cron knows (@hourly, @daily, @weekly, @monthly, @yearly, @every <duration>)"
    fields = value.split()
    if len(fields) != len(_FIELDS):
        return f"has {len(fields)} fields, {len(_FIELDS)} are expected"
    for field, (name, least, most, words) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if part and not _is_range(part.lower(), least, most, words):
                return f"has the {name} {short(part)}, expected {least} to {most}"
    return ""


def _is_range(part: str, least: int, most: int, words: Mapping[str, int]) -> bool:
    body, slash, step = part.partition("/")
    if slash and (not step.isascii() or not step.isdigit() or not step.strip("0")):
        return False
    if body in ("*", "?"):
        return True
    bounds = [
        words[end] if end in words else int(end) if end.isascii() and end.isdigit() and len(end) <= _DIGITS else -1
        for end in body.split("-")
    ]
    return len(bounds) <= 2 and all(least <= number <= most for number in bounds) and bounds == sorted(bounds)  # noqa: PLR2004

"""Settings → Storage, for admins: what is stored, what the audit found and repaired, and what to do about the rest.

Counts are those of the installation. Findings are listed only for the workspace's own photos and listings, and only
operators, who can run commands, are told which.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal import config
from portal.audit import overview
from portal.audit.models import ANNOUNCE, COMPARE, ORPHAN, REPAIR, AuditWalk
from portal.audit.overview import Finding, Group
from portal.audit.repair import FROM_LARGE, FROM_ORIGINAL, FROM_PMS
from portal.inventory import CHANGED, COPY, LARGE, LENGTH, MISSING, ORIGINAL, RENDITION, THUMB, TYPE
from portal.pages import live
from portal.pages.htmx import request
from portal.pages.rq import is_operator
from portal.pages.session import admin_only, current_user

LISTED = 50  # findings; a command lists all of them
AUDIT = "flask --app app audit"
OBJECT_LABELS = {  # singular, plural
    ORIGINAL: ("Original", "Originals"),
    LARGE: ("Large picture", "Large pictures"),
    THUMB: ("Thumbnail", "Thumbnails"),
    RENDITION: ("Smaller size", "Smaller sizes"),
    COPY: ("Copy of a listing’s picture", "Copies of listings’ pictures"),
}
KIND_LABELS = {
    MISSING: "missing",
    CHANGED: "overwritten",
    LENGTH: "of another length",
    TYPE: "of another type",
    ORPHAN: "no longer in use",
}
HOW_LABELS = {
    FROM_ORIGINAL: "Made again from the original.",
    FROM_PMS: "Downloaded again from the PMS.",
    FROM_LARGE: "Lost. The large picture took its place.",
}
PHASE_LABELS = {COMPARE: "Comparing", REPAIR: "Repairing", ANNOUNCE: "Announcing what was repaired"}
UPLOAD_AGAIN = "It can’t be made again. If you still have the photo, upload it again."
RESUME = "An audit was interrupted. The same command resumes it:"
ONLY_LOOKED = "The last audit only looked. Repair what can be made again:"
FROM_BACKUP = "If a backup of the uploads bucket has the lost originals, put them back, then audit again:"
TO_BEST_COPY = (
    "Otherwise put their large pictures in their place, of up to 2048 pixels. Then the photos can be rotated again:"
)
RESTORED = "Originals whose place a large picture took are lost: upload these photos again if you have them."
NEEDS_ORIGINAL = "A picture that is left is made again once its original is back."
CHECK_PMS = "Copies that are left could not be downloaded: see whether the PMS still has these pictures."
LIST_ALL = "List all of them with their keys; this reads every file:"
ORPHANS = "Files that are no longer in use are deleted automatically after {days} days; the audit deletes none."

blueprint = Blueprint("storage", __name__, url_prefix="/settings/storage")


class Advice(NamedTuple):
    """What to do about findings that are left, with the command that does it, if one does."""

    text: str
    command: str = ""


@blueprint.get("")
@admin_only
def page() -> ResponseReturnValue:
    """Return the page; for htmx, its live part: the walks and what was found."""
    if request.htmx:
        return live.fragment(render_template("settings/_storage_live.html", **_live_data()))
    stored = overview.stored()
    return render_template("settings/storage.html", tab="storage", stored=stored, **_live_data())


def _live_data() -> dict[str, Any]:
    """Return the live part's data, in a fixed number of statements: what the last walk found, or else the first."""
    current, last = overview.current_walk(), overview.last_walk()
    shown = last or current
    groups = overview.groups(shown) if shown else []
    findings = overview.findings(shown, current_user().workspace, LISTED + 1) if shown else []
    return {
        "current": current,
        "last": last,
        "shown": shown,
        "is_running": bool(current and overview.is_running(current)),
        "phase": PHASE_LABELS.get(current.phase) if current else None,
        "total": _total(current, last) if current else None,
        "found_so_far": overview.found_count(current) if current else 0,
        "groups": groups,
        "left": sum(group.left for group in groups if group.kind != ORPHAN),
        "advice": [*_to_resume(current), *_advice(last, groups)] if is_operator() else [],
        "findings": findings[:LISTED],
        "has_more": len(findings) > LISTED,
        "object_labels": OBJECT_LABELS,
        "kind_labels": KIND_LABELS,
        "outcome_of": outcome_of,
        "is_nightly": config.settings().audit_days > 0,
    }


def outcome_of(finding: Finding, walk: AuditWalk) -> tuple[str, str, str]:
    """Return a badge's state and text, and a sentence."""
    if finding.how == FROM_LARGE:
        return "warn", "Best copy left", HOW_LABELS[FROM_LARGE]
    if finding.repaired:
        return "live", "Repaired", HOW_LABELS.get(finding.how or "", "Corrected.")
    repairs = bool(walk.options.get("repairs"))
    if repairs and not finding.is_attempted and walk.finished_at is None:
        return "sync", "To be repaired", ""
    if not repairs:
        return "fail", "Left", "The audit only looked."
    return "fail", "Left", UPLOAD_AGAIN if finding.object == ORIGINAL else finding.reason


def _total(current: AuditWalk, last: AuditWalk | None) -> int | None:
    """Return about how many objects a walk compares; None if that is not known."""
    if current.options.get("workspace_id"):
        return None
    covers_all = last is not None and not last.options.get("workspace_id") and not last.message
    return max(current.checked, last.checked if last and covers_all else overview.stored_count())


def _to_resume(walk: AuditWalk | None) -> list[Advice]:
    """Return how to resume a walk that was interrupted. A scheduled one goes on by itself."""
    is_interrupted = walk is not None and not walk.is_scheduled and not overview.is_running(walk)
    return [Advice(RESUME, _command(walk))] if walk and is_interrupted else []


def _advice(walk: AuditWalk | None, groups: Sequence[Group]) -> list[Advice]:
    """Return what an operator can do about what a walk left, in the order of doing it."""
    if walk is None or walk.message:
        return []
    left = {group.object for group in groups if group.left and group.kind != ORPHAN}
    if left and not walk.options.get("repairs"):
        return [Advice(ONLY_LOOKED, f"{AUDIT} --repair")]
    advice = []
    if any(group.object == ORIGINAL and group.left > group.restored and group.kind != ORPHAN for group in groups):
        advice += [Advice(FROM_BACKUP, f"{AUDIT} --repair"), Advice(TO_BEST_COPY, f"{AUDIT} --repair --from-large")]
    if any(group.restored for group in groups):
        advice.append(Advice(RESTORED))
    if left & {LARGE, THUMB, RENDITION}:
        advice.append(Advice(NEEDS_ORIGINAL))
    if COPY in left:
        advice.append(Advice(CHECK_PMS))
    if left:
        advice.append(Advice(LIST_ALL, f"{AUDIT} --json"))
    if any(group.kind == ORPHAN for group in groups):
        advice.append(Advice(ORPHANS.format(days=config.settings().unknown_objects_kept_days)))
    return advice


def _command(walk: AuditWalk) -> str:
    options = walk.options
    words = [AUDIT]
    words += ["--repair"] if options.get("repairs") else []
    words += ["--from-large"] if options.get("from_large") else []
    words += [f"--sample {options['sample']:g}"] if options.get("sample", 100) != 100 else []
    words += ["--workspace NAME"] if options.get("workspace_id") else []
    return " ".join(words)

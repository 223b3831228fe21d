"""Passes: a sync reads a PMS's paginated list from end to end, and again until it has seen every listing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from operator import attrgetter

from sqlalchemy import Row, select

from portal.db import db
from portal.listings import providers
from portal.listings.models import IntegrationAccount, SyncPage
from portal.listings.providers.base import Page

MAX_PASSES = 10  # per sync; in random order each pass misses at most 1/e of the unseen: after ten, 1 in 22,000
MAX_PAGES = 5_000  # per sync, over all passes: half a million listings, or a PMS with a wrong total


@dataclass(frozen=True)
class Pass:
    """What the pages of one pass returned so far."""

    listing_ids: frozenset[int]
    returned: int  # listings, repeats included
    total: int | None  # listings according to the last page that has a total
    pages: int

    @property
    def withheld(self) -> int:
        """Return how many listings the PMS counts but does not return."""
        return max(0, (self.total or 0) - self.returned)


def record_page(account: IntegrationAccount, page: Page, listing_ids: Sequence[int]) -> list[Pass]:
    """Record a page and return the passes of the sync so far, including this page. Call it under the account's lock."""
    db.session.add(
        SyncPage(
            account_id=account.id,
            number=account.pages,
            pass_number=account.passes,
            listing_ids=list(listing_ids),
            total=page.total,
        )
    )
    db.session.flush()
    passes = _passes(account)
    account.pages += 1
    account.found = len(_distinct(passes))
    account.total = page.total if page.total is not None else account.total
    account.passes += page.next_cursor is None
    return passes


def is_complete(passes: Sequence[Pass], withheld: int | None) -> bool:
    """Return whether the passes of a sync saw every listing; False if in doubt, as unseen listings are removed.

    If a PMS sorts by a field that is not unique, the order may differ from page to page: some listings are then
    returned twice and others not at all. So distinct listings are counted. While they are fewer than the PMS has, the
    list is read again, and the passes are merged. Merging starts over when the counts change; otherwise a listing that
    was removed between two passes would make up for one that was never seen. A removal and an addition that cancel out
    go unnoticed, which is one reason why removal takes two complete syncs.

    A PMS has as many listings as it counts or, if it has no total, as one pass returns. Some PMSs count more than they
    return, such as drafts or rows without an id. Such a total is trusted if the previous sync fell short by exactly as
    many listings (`withheld`, None if unknown), because at first it looks the same as a page that failed to arrive.

    Passes that merely agree prove nothing: an order that changes in step with our requests hides the same listings
    from each of them. Such a sync is never complete, and removed listings stay: better than deleting existing ones.
    """
    last, consistent = passes[-1], _consistent(passes)
    if len(_distinct(consistent)) == last.total:
        return True
    is_usual = last.withheld in (0, withheld) or (withheld is None and len(consistent) > 1)
    return _saw_all_returned(consistent) and is_usual and (last.returned > 0 or not last.total)


def should_read_again(passes: Sequence[Pass]) -> bool:
    """Return whether an incomplete sync makes another pass: not if it would find nothing new or exceed the limits."""
    if _withholds_listings(passes):
        return False
    return len(passes) < MAX_PASSES and sum(each.pages for each in passes) + passes[-1].pages <= MAX_PAGES


def withheld(passes: Sequence[Pass], before: int | None) -> int | None:
    """Return how many listings the PMS withholds, or what was known `before` if the passes can't tell."""
    return passes[-1].withheld if _saw_all_returned(_consistent(passes)) else before


def why_incomplete(account: IntegrationAccount, passes: Sequence[Pass]) -> str:
    """Return a sentence for people that explains why an incomplete sync removed nothing."""
    name, last = providers.ALL[account.definition.provider].name, passes[-1]
    if _withholds_listings(passes):
        return f"{name} counts {last.total:,} listings but returned {last.returned:,}. Nothing was removed."
    has = f"returned {last.returned:,}" if last.total is None else f"counts {last.total:,}"
    times = "once" if len(passes) == 1 else f"{len(passes)} times"
    return (
        f"{name} {has} listings, but reading its list {times} showed {account.found:,} different ones, as the order "
        "keeps changing. Nothing was removed."
    )


def progress(accounts: Sequence[IntegrationAccount]) -> float | None:
    """Return the progress of the running syncs, from 0 to 1, or None if the PMS doesn't count its listings."""
    read = sum(account.found for account in accounts if account.started_at)
    total = sum(account.total or 0 for account in accounts if account.started_at)
    return min(1.0, read / total) if total else None


def _passes(account: IntegrationAccount) -> list[Pass]:
    columns = (SyncPage.pass_number, SyncPage.listing_ids, SyncPage.total)
    pages = select(*columns).where(SyncPage.account_id == account.id).order_by(SyncPage.number)
    by_pass = groupby(db.session.execute(pages), key=attrgetter("pass_number"))
    return [_pass(list(group)) for _, group in by_pass]


def _pass(pages: Sequence[Row[int, list[int], int | None]]) -> Pass:
    totals = [page.total for page in pages if page.total is not None]
    return Pass(
        listing_ids=frozenset(listing_id for page in pages for listing_id in page.listing_ids),
        returned=sum(len(page.listing_ids) for page in pages),
        total=totals[-1] if totals else None,
        pages=len(pages),
    )


def _consistent(passes: Sequence[Pass]) -> list[Pass]:
    """Return the latest consecutive passes with equal counts, newest first."""
    last = passes[-1]
    return list(takewhile(lambda each: (each.returned, each.total) == (last.returned, last.total), reversed(passes)))


def _saw_all_returned(consistent: Sequence[Pass]) -> bool:
    """Return whether the passes saw as many distinct listings as each of them returned."""
    return len(_distinct(consistent)) == consistent[0].returned


def _withholds_listings(passes: Sequence[Pass]) -> bool:
    """Return whether two passes in a row saw everything that the PMS returns, while it counts more."""
    consistent = _consistent(passes)
    return len(consistent) > 1 and consistent[0].withheld > 0 and _saw_all_returned(consistent)


def _distinct(passes: Iterable[Pass]) -> frozenset[int]:
    return frozenset[int]().union(*(each.listing_ids for each in passes))

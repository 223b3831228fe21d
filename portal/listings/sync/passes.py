"""Passes: a sync reads a PMS's list from end to end, and again until it has seen every listing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from operator import attrgetter

from sqlalchemy import Row, select

from portal.db import db
from portal.listings import providers
from portal.listings.models import IntegrationAccount, SyncPage
from portal.listings.providers.base import Page

MAX_PASSES = 10  # a sync; in random order each pass misses at most 1/e of what is unseen: after ten, 1 in 22,000
MAX_PAGES = 5_000  # a sync, all passes together; half a million listings, or a PMS with a wrong total


@dataclass(frozen=True)
class Pass:
    """What the pages of one pass returned so far."""

    listing_ids: frozenset[int]
    given: int  # listings returned, repeats included
    total: int | None  # listings according to the last page that has a total
    pages: int

    @property
    def withheld(self) -> int:
        """Return how many listings the PMS counts but does not return."""
        return max(0, (self.total or 0) - self.given)


def add(account: IntegrationAccount, page: Page, listing_ids: Sequence[int]) -> list[Pass]:
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
    account.found = len(_together(passes))
    account.total = page.total if page.total is not None else account.total
    account.passes += page.next_cursor is None
    return passes


def is_whole(passes: Sequence[Pass], withheld: int | None) -> bool:
    """Return whether the passes of a sync saw every listing. What they did not see is removed, so doubt means no.

    If a PMS sorts by something that is not unique, each page may be cut from another order: some listings then come
    twice and others not at all. Distinct listings are therefore counted, and while they are fewer than the PMS has,
    the list is read again and the passes are merged. Merging starts over when the counts change, as a listing removed
    between two passes would stand in for one that was never seen. A removal and an addition that cancel out go
    unnoticed; that is one reason why removal takes two whole syncs.

    A PMS has as many listings as it counts or, if it doesn't say, as one pass returns. Some count more than they
    return, drafts or rows without an id. They are believed if they withheld exactly as many in the sync before
    (`withheld`, None if unknown), because a page that fails to arrive looks the same at first.

    Passes that merely agree prove nothing: an order that changes in step with our requests hides the same listings
    from each of them. Such a sync is never whole, and listings that are gone stay. That is better than deleting some
    that exist.
    """
    last, alike = passes[-1], _alike(passes)
    if len(_together(alike)) == last.total:
        return True
    is_usual = last.withheld in (0, withheld) or (withheld is None and len(alike) > 1)
    return _has_all_given(alike) and is_usual and (last.given > 0 or not last.total)


def may_read_again(passes: Sequence[Pass]) -> bool:
    """Return whether an incomplete sync makes another pass: not if it would bring nothing new, nor past the limits."""
    if _is_short(passes):
        return False
    return len(passes) < MAX_PASSES and sum(each.pages for each in passes) + passes[-1].pages <= MAX_PAGES


def withheld(passes: Sequence[Pass], before: int | None) -> int | None:
    """Return how many listings the PMS withholds, or what was known `before` if the passes can't tell."""
    return passes[-1].withheld if _has_all_given(_alike(passes)) else before


def shortfall(account: IntegrationAccount, passes: Sequence[Pass]) -> str:
    """Return a sentence for people: why an incomplete sync removed nothing."""
    name, last = providers.ALL[account.definition.provider].name, passes[-1]
    if _is_short(passes):
        return f"{name} counts {last.total:,} listings but returned {last.given:,}. Nothing was removed."
    has = f"returned {last.given:,}" if last.total is None else f"counts {last.total:,}"
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
        given=sum(len(page.listing_ids) for page in pages),
        total=totals[-1] if totals else None,
        pages=len(pages),
    )


def _alike(passes: Sequence[Pass]) -> list[Pass]:
    """Return the latest passes, newest first, back to the first whose counts differ from the last one's."""
    last = passes[-1]
    return list(takewhile(lambda each: (each.given, each.total) == (last.given, last.total), reversed(passes)))


def _has_all_given(alike: Sequence[Pass]) -> bool:
    """Return whether the passes saw as many distinct listings as one pass returns."""
    return len(_together(alike)) == alike[0].given


def _is_short(passes: Sequence[Pass]) -> bool:
    """Return whether two passes in a row saw everything that the PMS returns, while it counts more."""
    alike = _alike(passes)
    return len(alike) > 1 and alike[0].withheld > 0 and _has_all_given(alike)


def _together(passes: Iterable[Pass]) -> frozenset[int]:
    return frozenset[int]().union(*(each.listing_ids for each in passes))

"""Errands: rows that wait for the world outside, taken in fair turns, done side by side in threads, and noted."""

import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar

from redis import RedisError
from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute

from portal import jobs
from portal.config import in_this_app
from portal.db import db, now

log = logging.getLogger(__name__)

RUN_FOR_S = 60  # nothing new is taken after that: the job ends well within its time limit
TOGETHER_S = 0.02  # what ends within it is noted in one change, and followed by one look at what is due

Errand = TypeVar("Errand")
Outcome = TypeVar("Outcome")


class Turn(NamedTuple):
    """A row that is due, or on its way: where to, for whom, and whether it or its place failed before."""

    id: int
    place: Hashable
    workspace_id: int
    is_suspect: bool


@dataclass(frozen=True)
class Shares:
    """How many may be on the way at once in all, to one place, for one workspace, and of what failed before.

    So whoever is slow delays nobody else (cases A28, F6, H7): what failed may fail slowly again, and has half.
    """

    side_by_side: int
    per_place: int
    per_workspace: int

    def full(self, on_the_way: Sequence[Turn]) -> tuple[list[Hashable], list[int]]:
        """Return the places and the workspaces that have their share already."""
        places, workspaces = _counted(on_the_way)
        return (
            [place for place, count in places.items() if count >= self.per_place],
            [workspace for workspace, count in workspaces.items() if count >= self.per_workspace],
        )

    def choose(self, due: Iterable[Turn], on_the_way: Sequence[Turn], most: int) -> list[int]:
        """Choose ids among what is due: one after the other for the workspace that has the least on the way by then.

        So a place that many want is shared, whoever came first with however much. Among equals it is a draw: the one
        that is named first would have each place that becomes free, as long as it wants any.
        """
        places, workspaces = _counted(on_the_way)
        suspects = sum(turn.is_suspect for turn in on_the_way)
        waiting: dict[int, deque[Turn]] = {}
        for turn in due:
            waiting.setdefault(turn.workspace_id, deque()).append(turn)
        chosen: list[int] = []
        while waiting and len(chosen) < most:
            workspace_id = min(waiting, key=lambda id: (workspaces[id], random.random()))
            its = waiting[workspace_id]
            while its and (
                places[its[0].place] >= self.per_place or (its[0].is_suspect and suspects >= self.side_by_side // 2)
            ):
                its.popleft()  # there is no room for it in this choice
            if not its or workspaces[workspace_id] >= self.per_workspace:
                del waiting[workspace_id]
                continue
            turn = its.popleft()
            places[turn.place] += 1
            workspaces[workspace_id] += 1
            suspects += turn.is_suspect
            chosen.append(turn.id)
        return chosen


def run(
    claim: Callable[[int, list[Errand]], Iterable[Errand]],
    carry_out: Callable[[Errand], Outcome],
    note: Callable[[list[tuple[Errand, Outcome]]], None],
    *,
    side_by_side: int,
    broken: Outcome,
    successor: jobs.Job | None = None,
) -> int:
    """Carry out what `claim(most, on_the_way)` gives, side by side, until that is nothing; return how many.

    Only `carry_out` runs in threads, without the database. Where our own code breaks, `broken` is its outcome.
    When our time is up, `successor` is rung for at once: who waits must not wait for those that hang.
    """
    began, count = time.monotonic(), 0
    is_over = False
    on_the_way: dict[Future[Outcome], Errand] = {}
    with ThreadPoolExecutor(side_by_side) as pool:
        while True:
            free = side_by_side - len(on_the_way)
            if not is_over and time.monotonic() - began >= RUN_FOR_S:
                is_over = True
                _ring(successor)
            if free and not is_over:
                for errand in claim(free, list(on_the_way.values())):
                    on_the_way[pool.submit(in_this_app(carry_out), errand)] = errand
            if not on_the_way:
                return count
            ended = _ended(on_the_way)
            if ended:
                note([(on_the_way.pop(future), _outcome(future, broken)) for future in ended])
            count += len(ended)


def ring_again(next_at: InstrumentedAttribute[datetime | None], job: jobs.Job) -> int:
    """Ring where rows are due and no worker is on its way to them; return how many are due."""
    due = db.session.scalar(select(func.count()).where(next_at <= now())) or 0
    if due:
        for lost in jobs.lost([job]):
            jobs.enqueue(lost)
    return due


def _ring(job: jobs.Job | None) -> None:
    if job:
        with suppress(RedisError):  # then the sweep rings
            jobs.enqueue(job)


def _counted(on_the_way: Iterable[Turn]) -> tuple[Counter[Hashable], Counter[int]]:
    turns = list(on_the_way)
    return Counter(turn.place for turn in turns), Counter(turn.workspace_id for turn in turns)


def _ended(on_the_way: dict[Future[Outcome], Errand]) -> list[Future[Outcome]]:
    wait(on_the_way, timeout=0.2, return_when=FIRST_COMPLETED)
    wait(on_the_way, timeout=TOGETHER_S)
    return [future for future in on_the_way if future.done()]


def _outcome(future: Future[Outcome], broken: Outcome) -> Outcome:
    """What breaks our own code fails alone, and not its neighbours with it."""
    try:
        return future.result()
    except Exception:
        log.exception("an errand broke")
        return broken

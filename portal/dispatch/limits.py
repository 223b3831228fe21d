"""Concurrency limits and fair choice of due rows, so that a slow host or workspace delays no other."""

import random
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Candidate(NamedTuple):
    """A row that is due or in flight."""

    id: int
    destination: Hashable  # where its call goes: a host, or a webhook's endpoint
    workspace_id: int
    is_retry: bool  # it, or its destination, failed before and may fail slowly again


@dataclass(frozen=True)
class ConcurrencyLimits:
    """Limits for one worker, and for all workers together per destination and per workspace."""

    quick_tasks: int  # of one worker; a task that takes long may be hanging and no longer counts
    threads: int  # of one worker: the limit of all its tasks
    per_destination: int
    per_workspace: int

    @property
    def max_retries(self) -> int:
        """How many retries may be in flight."""
        return self.threads // 2

    def saturated(self, in_flight: Sequence[Candidate]) -> tuple[list[Hashable], list[int]]:
        """Return the destinations and the workspaces that have reached their limits."""
        destinations, workspaces = _counts(in_flight)
        return (
            [destination for destination, count in destinations.items() if count >= self.per_destination],
            [workspace for workspace, count in workspaces.items() if count >= self.per_workspace],
        )

    def pick(self, due: Iterable[Candidate], in_flight: Sequence[Candidate], most: int) -> list[int]:
        """Pick due rows fairly: each pick goes to the workspace with the fewest tasks in flight; return their ids.

        Ties are broken at random: otherwise one workspace would get every slot that becomes free.
        """
        destinations, workspaces = _counts(in_flight)
        retries = sum(candidate.is_retry for candidate in in_flight)
        waiting: dict[int, deque[Candidate]] = {}
        for candidate in due:
            waiting.setdefault(candidate.workspace_id, deque()).append(candidate)
        picked: list[int] = []
        while waiting and len(picked) < most:
            workspace_id = min(waiting, key=lambda id: (workspaces[id], random.random()))
            queue = waiting[workspace_id]
            while queue and not self._admits(queue[0], destinations, retries):
                queue.popleft()  # stays due for a later run
            if not queue or workspaces[workspace_id] >= self.per_workspace:
                del waiting[workspace_id]
                continue
            candidate = queue.popleft()
            destinations[candidate.destination] += 1
            workspaces[workspace_id] += 1
            retries += candidate.is_retry
            picked.append(candidate.id)
        return picked

    def _admits(self, candidate: Candidate, destinations: Counter[Hashable], retries: int) -> bool:
        if candidate.is_retry and retries >= self.max_retries:
            return False
        return destinations[candidate.destination] < self.per_destination


def _counts(candidates: Sequence[Candidate]) -> tuple[Counter[Hashable], Counter[int]]:
    return Counter(each.destination for each in candidates), Counter(each.workspace_id for each in candidates)

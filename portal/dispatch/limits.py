"""How many tasks may be in flight, and whose row is next, so that whoever is slow delays nobody else."""

import random
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Candidate(NamedTuple):
    """A row that is due or in flight: where it goes, for whom, and whether it or its place failed before."""

    id: int
    place: Hashable
    workspace_id: int
    is_suspect: bool


@dataclass(frozen=True)
class ConcurrencyLimits:
    """The limits of one worker, and of what all workers together have in flight for a place and a workspace.

    A task that takes longer may hang. So it stops counting as one of those side by side, and only keeps its thread.
    """

    side_by_side: int
    threads: int
    per_place: int
    per_workspace: int

    @property
    def suspects(self) -> int:
        """How many may be in flight of what failed before, as it may fail slowly again."""
        return self.threads // 2

    def saturated(self, in_flight: Sequence[Candidate]) -> tuple[list[Hashable], list[int]]:
        """Return the places and the workspaces that have their share already."""
        places, workspaces = _counted(in_flight)
        return (
            [place for place, count in places.items() if count >= self.per_place],
            [workspace for workspace, count in workspaces.items() if count >= self.per_workspace],
        )

    def pick(self, due: Iterable[Candidate], in_flight: Sequence[Candidate], most: int) -> list[int]:
        """Pick due rows fairly: each pick goes to the workspace with the fewest tasks in flight; return their ids.

        Ties are drawn: otherwise one workspace would get every slot that becomes free, for as long as it wants any.
        """
        places, workspaces = _counted(in_flight)
        suspects = sum(candidate.is_suspect for candidate in in_flight)
        waiting: dict[int, deque[Candidate]] = {}
        for candidate in due:
            waiting.setdefault(candidate.workspace_id, deque()).append(candidate)
        picked: list[int] = []
        while waiting and len(picked) < most:
            workspace_id = min(waiting, key=lambda id: (workspaces[id], random.random()))
            its = waiting[workspace_id]
            while its and (places[its[0].place] >= self.per_place or (its[0].is_suspect and suspects >= self.suspects)):
                its.popleft()  # there is no room for it this time
            if not its or workspaces[workspace_id] >= self.per_workspace:
                del waiting[workspace_id]
                continue
            candidate = its.popleft()
            places[candidate.place] += 1
            workspaces[workspace_id] += 1
            suspects += candidate.is_suspect
            picked.append(candidate.id)
        return picked


def _counted(candidates: Sequence[Candidate]) -> tuple[Counter[Hashable], Counter[int]]:
    return Counter(one.place for one in candidates), Counter(one.workspace_id for one in candidates)

"""Plans: the limits of a workspace."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    name: str
    title: str
    images_per_property: int
    imports_per_month: int  # images per calendar month (UTC)


PLANS = {
    plan.name: plan
    for plan in (
        Plan("free", "Free", images_per_property=20, imports_per_month=200),  # Property Images API: "maxImages": 20
        Plan("pro", "Pro", images_per_property=60, imports_per_month=5000),
    )
}

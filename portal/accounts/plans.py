"""What a workspace may use. The numbers stand here and nowhere else."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    name: str
    title: str
    images_per_property: int
    imports_per_month: int  # images, in a calendar month (UTC): contract.md, B19


PLANS = {
    plan.name: plan
    for plan in (
        Plan("free", "Free", images_per_property=20, imports_per_month=200),  # seed B: "maxImages": 20
        Plan("pro", "Pro", images_per_property=60, imports_per_month=5000),
    )
}

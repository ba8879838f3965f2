"""Benign workloads: ordinary life, honest look-alikes of extraction included.

To add one: a function `(setting, rng, wanted, accounts) -> tuple[Account, ...]` and a line below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from kdguard.simulate.activity import Account
from kdguard.simulate.setting import Setting
from kdguard.simulate.workloads.batches import extraction_job, labelling, synthetic_data
from kdguard.simulate.workloads.coding import ci_runner, coding_agent
from kdguard.simulate.workloads.evaluations import (
    day_one_benchmark,
    evaluation_sweep,
    product_judge,
    security_research,
)
from kdguard.simulate.workloads.people import interactive, office, university_lab
from kdguard.simulate.workloads.products import gateway, migration, product, reseller

Workload = Callable[[Setting, np.random.Generator, int | None, int | None], tuple[Account, ...]]

WORKLOADS: Mapping[str, Workload] = {
    "interactive": interactive,
    "office": office,
    "university_lab": university_lab,
    "coding_agent": coding_agent,
    "ci_runner": ci_runner,
    "product": product,
    "migration": migration,
    "gateway": gateway,
    "reseller": reseller,
    "evaluation_sweep": evaluation_sweep,
    "product_judge": product_judge,
    "day_one_benchmark": day_one_benchmark,
    "security_research": security_research,
    "labelling": labelling,
    "extraction_job": extraction_job,
    "synthetic_data": synthetic_data,
}
PERMITTED = frozenset({"synthetic_data"})
"""Workloads whose contract allows training; campaigns do not hide among them."""

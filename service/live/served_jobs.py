"""Whose answers did a suspect learn from? The log link of `kdguard lineage served`, on answers of the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.audit.case import Case
from kdguard.detectors.fingerprint.served import (
    Served,
    Settings,
    rank_accounts,
    served_by_wording,
    served_of,
)
from kdguard.detectors.fingerprint.served.claims import NAME, VERSION, statistics_of
from kdguard.errors import LineageError
from kdguard.service.live.errands import ASKED, Done
from kdguard.service.live.learning import SEGMENTS, Bodies
from kdguard.service.marks import cases
from kdguard.service.store import jobs
from kdguard.service.store.account_keys import AccountKeys
from kdguard.service.store.database import Database
from kdguard.service.store.jobs import Job
from kdguard.service.store.secrets import Secrets

KIND = "lineage_served"
MOST_TEXTS = 500_000
_COLUMNS = ["request_id", "choice", "account_id", "prompt", "response", "output_tokens"]


@dataclass(frozen=True, slots=True)
class LogLinks:
    """Does log links.

    Attributes:
        database: Where jobs stand.
        secrets: What opens account keys and seals cases.
    """

    database: Database
    secrets: Secrets

    def run(self, job: Job, folder: Path) -> Done:
        """Do one.

        Raises:
            LineageError: The readings do not fit what was served.
        """
        asked = orjson.loads((folder / ASKED).read_bytes())
        table = _served(asked, self._texts(job, folder, asked))
        if asked["accounts"]:
            table = table.together(asked["accounts"])
        settings = Settings(seed=asked["seed"], deals=asked["deals"], alpha=asked["alpha"])
        found = rank_accounts(table, asked["suspect"], settings)
        hits = any(one.p_adjusted is not None and one.p_adjusted <= asked["alpha"] for one in found)
        result = {
            "suspect": asked["suspect"],
            "found": hits,
            "alpha": asked["alpha"],
            "lines": [one.to_json(asked["suspect"], asked["alpha"]) for one in found],
            "bundle": True,
        }
        case = Case(
            test=NAME,
            version=VERSION,
            keys=(),
            parameters=asdict(settings),
            statistics=statistics_of(table, asked["suspect"]),
            inputs=tuple(job.given["inputs"]),
        )
        return Done(result, cases.sealed(self.secrets, job.id, {"": case}))

    def _texts(self, job: Job, folder: Path, asked: Mapping[str, Any]) -> pd.DataFrame:
        """Answers that the readings are about, first choices only, each once.

        Raises:
            LineageError: There are none, or too many.
        """
        name = "request_id" if asked["likelihoods"] else "prompt"
        rows: Sequence[Mapping[str, Any]] = asked["likelihoods"] or asked["answers"]
        wanted = pa.array(sorted({str(row[name]) for row in rows}), pa.string())
        keys = AccountKeys(self.database, self.secrets, job.tenant)
        progress = partial(jobs.advance, self.database, job)
        period = asked["since_us"], asked["until_us"]
        found, count = [], 0
        for batch in Bodies(folder / SEGMENTS, keys, job.tenant, *period, progress, passes=1):
            kept = batch.select(_COLUMNS).filter(pc.is_in(batch.column(name), wanted))
            kept = kept.filter(pa.array(kept.column("choice").to_numpy() == 0))
            found.append(kept)
            count += kept.num_rows
            if count > MOST_TEXTS:
                raise LineageError(f"more than {MOST_TEXTS:,} answers fit; give a shorter period")
        if not count:
            raise LineageError("the journal holds no answer that the readings are about")
        table = pa.Table.from_batches(found).to_pandas()
        return table.drop_duplicates(["account_id", "request_id"]).dropna(subset=["response"])


def _served(asked: Mapping[str, Any], texts: pd.DataFrame) -> Served:
    suspect, clean = asked["suspect"], asked["clean"]
    if asked["likelihoods"]:
        readings = pd.DataFrame(asked["likelihoods"]).rename(columns={"request_id": "text_id"})
        return served_of(texts.dropna(subset=["output_tokens"]), readings, suspect, clean)
    return served_by_wording(texts, pd.DataFrame(asked["answers"]), suspect, clean)

"""Jobs other than scoring: what is uploaded for one lies in a folder of its own until it ends, whichever way."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from kdguard.errors import InputError
from kdguard.service.store import jobs
from kdguard.service.store.database import Database
from kdguard.service.store.jobs import Job

LOG = logging.getLogger("kdguard.service")
ASKED = "asked.json"
"""Name of the upload that says what is asked, where a job has one."""
_LONGEST_S = 86_400.0
"""Age at which a folder is left over: from a job that was given up, or a process that was killed."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a job ended.

    Attributes:
        result: For whoever asks.
        given: Replaces what the job was given; None = that stays.
    """

    result: Mapping[str, Any]
    given: Mapping[str, Any] | None = None


Work = Callable[[Job, Path], Done]


def folder_of(data: Path, tenant: str, job: str) -> Path:
    """Where a job's uploads lie."""
    return data / "tenants" / tenant / "uploads" / job


def carry_out(database: Database, data: Path, job: Job, work: Work) -> None:
    """Do a job and end it; its uploads go then. What may pass, as a slow database, leaves it to be done again.

    Raises:
        SQLAlchemyError, OSError: It is to be done again.
    """
    folder = folder_of(data, job.tenant, job.id)
    try:
        done, failed = work(job, folder), False
    except (SQLAlchemyError, OSError):
        raise
    except InputError as error:
        message = str(error).replace(f"{folder}/", "").replace(f"{folder.parent.parent}/", "")
        done, failed = Done({"error": message}), True
    except Exception as error:
        # uploads are hostile input, and one of them must not end the thread; the message could hold a text
        LOG.error("job failed", exc_info=True, extra={"kd": {"job": job.id, "kind": job.kind}})
        done, failed = Done({"error": f"an error of ours: {type(error).__name__}"}), True
    jobs.finish(database, job, done.result, failed=failed, given=done.given)
    shutil.rmtree(folder, ignore_errors=True)


def drop_left_over(data: Path) -> None:
    """Remove folders that nobody will come back for."""
    for pattern in ("tenants/*/uploads/*", "tenants/*/open-*"):
        for folder in data.glob(pattern):
            if time.time() - folder.stat().st_mtime > _LONGEST_S:
                shutil.rmtree(folder, ignore_errors=True)

"""From the table of a recipe to a teacher that can be asked, and what a manifest says about it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kdguard.distill.teachers.protocol import Answer, Ask, Teacher
from kdguard.errors import AttackError
from kdguard.simulate.attack import tables


@dataclass(frozen=True, eq=False)
class Built:
    """A teacher, and what is known about it.

    Attributes:
        teacher: Answers.
        about: For the manifest: kind, name, digest of the weights where these are at hand, permission.
        tokenizer: Its tokenizer, where it is known.
        keyed: Makes the same teacher with a key of its own for each of some accounts, where there are several keys.
    """

    teacher: Teacher
    about: Mapping[str, Any]
    tokenizer: Any = None
    keyed: Callable[[Sequence[str]], Teacher] | None = None

    def asked_by(self, accounts: Sequence[str]) -> Teacher:
        """The teacher as these accounts ask it."""
        return self.teacher if self.keyed is None else self.keyed(accounts)


@contextmanager
def asked_by(accounts: Sequence[str], teachers: Sequence[Built]) -> Iterator[list[Teacher]]:
    """Teachers as some accounts ask them; their connections are closed at the end."""
    asked = [one.asked_by(accounts) for one in teachers]
    try:
        yield asked
    finally:
        for one in (*asked, *(built.teacher for built in teachers)):
            if (close := getattr(one, "close", None)) is not None:
                close()


@dataclass(eq=False)
class Routed:
    """Two teachers behind one door.

    Attributes:
        first: Answers all requests but those of the second.
        second: Answers `to_second`.
        to_second: Ids of requests.
        name: The first one's.
    """

    first: Teacher
    second: Teacher
    to_second: frozenset[str]
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.first.name

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        """Answer each ask by its teacher."""
        for teacher, theirs in ((self.first, False), (self.second, True)):
            chosen = [ask for ask in asks if (ask.request_id in self.to_second) == theirs]
            yield from teacher.answer(chosen) if chosen else ()


def build_teacher(table: tables.AnyTeacher, *, seed: int, cache: Path | None = None, rows: int = 64) -> Built:
    """Make or load the teacher of a recipe.

    Args:
        table: What the recipe says.
        seed: For asks without a seed.
        cache: Folder in which a toy teacher is kept, and found again when a run goes on.
        rows: Sequences that a model here decodes at once.

    Raises:
        AttackError: The key's environment variable is not set.
        TeacherError: An address that is not permitted, or a folder that cannot be replayed.
        ModelError: A model folder that is not safe to load.
    """
    match table:
        case tables.ToyTeacher():
            return _toy(table, seed, cache, rows)
        case tables.FolderTeacher():
            return _folder(table, seed, rows)
        case tables.EndpointTeacherTable():
            return _endpoint(table)
        case tables.ReplayTeacherTable():
            return _replay(table)
        case tables.ClassifierTeacherTable():
            return _classifier(table)


def _toy(table: tables.ToyTeacher, seed: int, cache: Path | None, rows: int) -> Built:
    from kdguard.distill.models import load_model, load_tokenizer, save_model
    from kdguard.distill.teachers.local import LocalTeacher
    from kdguard.simulate.attack.toy import train_toy

    if cache is not None and (cache / "config.json").is_file():
        model, tokenizer = load_model(cache), load_tokenizer(cache)
    else:
        model, tokenizer = train_toy(table)
        if cache is not None:
            save_model(model, tokenizer, cache)
    name = f"toy-{table.world}-{table.seed}"
    teacher = LocalTeacher(model, tokenizer, name=name, rows=rows, seed=seed, logprobs_of=_told(table))
    return Built(teacher, _about(table, name, model), tokenizer)


def _folder(table: tables.FolderTeacher, seed: int, rows: int) -> Built:
    from kdguard.distill.teachers.local import LocalTeacher

    teacher = LocalTeacher.load(
        table.path, device=table.device, rows=rows, seed=seed, logprobs_of=_told(table)
    )
    return Built(teacher, _about(table, teacher.name, teacher.model), teacher.tokenizer)


def _endpoint(table: tables.EndpointTeacherTable) -> Built:
    from kdguard.distill.models import load_tokenizer
    from kdguard.distill.teachers.endpoint import EndpointTeacher
    from kdguard.distill.teachers.pacing import Pace

    key = os.environ.get(table.api_key_variable, "") if table.api_key_variable else "none"
    if not key:
        raise AttackError(
            f"the environment variable '{table.api_key_variable}' must hold the API key; it is not set"
        )
    keys = _keys(table.keys_file) if table.keys_file is not None else ()

    def keyed(accounts: Sequence[str]) -> EndpointTeacher:
        return EndpointTeacher(
            table.url,
            table.model,
            api_key=key,
            keys=dict(zip(accounts, cycle(keys), strict=False)),
            owned=table.owned,
            permission=table.permission,
            concurrency=table.concurrency,
            pace=Pace(requests_per_minute=table.requests_per_minute),
            timeout_s=table.timeout_s,
            retries=table.retries,
        )

    teacher = keyed(())
    about = {"kind": table.kind, "name": teacher.name, "permission": teacher.permission.record()}
    tokenizer = None if table.tokenizer is None else load_tokenizer(table.tokenizer)
    return Built(teacher, about, tokenizer, keyed=keyed if keys else None)


def _keys(path: Path) -> tuple[str, ...]:
    """API keys, one a line."""
    try:
        found = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise AttackError(f"teacher.keys_file '{path}' cannot be read: {error}") from error
    if not found:
        raise AttackError(f"teacher.keys_file '{path}' must hold one API key a line; it holds none")
    return found


def _replay(table: tables.ReplayTeacherTable) -> Built:
    from kdguard.distill.teachers.replay import ReplayTeacher

    teacher = ReplayTeacher.load(table.path)
    return Built(teacher, {"kind": table.kind, "name": teacher.name, "permission": LOCAL})


def _classifier(table: tables.ClassifierTeacherTable) -> Built:
    from kdguard.distill.teachers.classifier import ClassifierTeacher
    from kdguard.simulate.attack.classifiers.digits import CLASSES, digits, train_victim

    name = f"digits-{table.victim}-{table.seed}"
    victim = train_victim(digits(), table.victim, table.seed)
    labels = [str(label) for label in range(CLASSES)]
    teacher = ClassifierTeacher(victim, labels, name=name, inputs="features", tell=table.tell)
    seen = np.round(victim(digits().test_inputs), 6)
    print_of = hashlib.blake2b(np.ascontiguousarray(seen).tobytes(), digest_size=16).hexdigest()
    return Built(teacher, {"kind": table.kind, "name": name, "digest": print_of, "permission": LOCAL})


LOCAL = "on this machine"


def _told(table: tables.ToyTeacher | tables.FolderTeacher) -> Literal["biased", "model"]:
    return "biased" if table.biased_logprobs else "model"


def _about(table: tables.ToyTeacher | tables.FolderTeacher, name: str, model: Any) -> dict[str, Any]:
    return {"kind": table.kind, "name": name, "digest": weights_digest(model), "permission": LOCAL}


def weights_digest(model: Any) -> str:
    """BLAKE2 digest of a torch module's weights, by name."""
    state = hashlib.blake2b(digest_size=16)
    for name, value in sorted(model.state_dict().items()):
        state.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()

"""A loopback endpoint that answers probes from a table, as one model or as another from some request on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

from tests.distill.teachers.scripted_server import Reply, Script, chat, serving


def probes_frame(prompts: int) -> pd.DataFrame:
    """Prompts for the ids of `made.table`."""
    return pd.DataFrame(
        {
            "prompt_id": [str(at) for at in range(prompts)],
            "prompt": [f"Question {at}?" for at in range(prompts)],
        }
    )


@contextmanager
def suspect(
    answer: Callable[[int, int], str], *, model: Callable[[int], str] = lambda number: "m", **choice: Any
) -> Iterator[Script]:
    """Serve answers: a function of the request's number and the prompt's."""

    def reply(number: int, asked: Mapping[str, Any]) -> Reply:
        prompt = int(str(asked["messages"][-1]["content"]).removeprefix("Question ").removesuffix("?"))
        return 200, chat(answer(number, prompt), **choice) | {"model": model(number)}, {}

    with serving(Script(reply)) as script:
        yield script


def prompts_seen(script: Script) -> Sequence[int]:
    """Numbers of the prompts that were asked, in order."""
    return [
        int(body["messages"][-1]["content"].removeprefix("Question ").removesuffix("?"))
        for body in script.seen
    ]

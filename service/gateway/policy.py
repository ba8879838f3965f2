"""The policy file: what a gateway is told to do, by verdict on the account and by what this request asks.

```toml
schema_version = 1
dry_run = true

[[rule]]
name = "confirmed thieves are blocked"
actions = ["block"]
dispositions = ["confirmed"]

[[rule]]
name = "accounts under review get no log-probabilities"
actions = ["strip_logprobs", "throttle"]
decisions = ["flag", "review"]
asks = ["logprobs"]
requests_per_minute = 30
```

Rules are tried in order, and the first that fits decides; conditions that a rule does not name always hold. Without a
fitting rule a request is allowed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdguard.errors import ServiceError
from kdguard.verdict import Decision


class Action(StrEnum):
    """What a gateway can do with a request.

    Attributes:
        ALLOW: Nothing.
        THROTTLE: At most so many requests a minute of this account.
        STRIP_LOGPROBS: Answer without log-probabilities.
        WITHHOLD_REASONING: Answer without reasoning, or with a summary of it.
        CAP_OUTPUT: Answer with at most so many tokens.
        SERVE_MARKED: Answer with a watermark or a canary.
        VERIFY: Ask the account's owner for verification first.
        BLOCK: Refuse.
    """

    ALLOW = "allow"
    THROTTLE = "throttle"
    STRIP_LOGPROBS = "strip_logprobs"
    WITHHOLD_REASONING = "withhold_reasoning"
    CAP_OUTPUT = "cap_output"
    SERVE_MARKED = "serve_marked"
    VERIFY = "verify"
    BLOCK = "block"


Ask = Literal["logprobs", "many_choices", "logit_bias", "tools"]


class Rule(BaseModel):
    """One rule; see the module."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    actions: Annotated[tuple[Action, ...], Field(min_length=1)]
    decisions: tuple[Decision, ...] = ()
    dispositions: tuple[Literal["confirmed", "benign", "watch", "none"], ...] = ()
    techniques: tuple[str, ...] = ()
    min_margin_nats: float = 0.0
    asks: tuple[Ask, ...] = ()
    models: tuple[str, ...] = ()
    in_cluster: bool | None = None
    permitted: bool | None = None
    guarantee_active: bool | None = None
    requests_per_minute: Annotated[int, Field(gt=0)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Rule:
        if Action.THROTTLE in self.actions and self.requests_per_minute is None:
            raise ValueError("a rule that throttles must give requests_per_minute")
        if Action.CAP_OUTPUT in self.actions and self.max_tokens is None:
            raise ValueError("a rule that caps output must give max_tokens")
        return self


class Policy(BaseModel):
    """A policy file; without rules everything is allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    dry_run: bool = True
    rule: tuple[Rule, ...] = ()

    @property
    def reads_words(self) -> bool:
        """Whether any rule rests on what a request looks like; otherwise nothing classifies it."""
        return any(rule.techniques for rule in self.rule)

    def check_techniques(self, known: Collection[str]) -> None:
        """Refuse rules about techniques that the classifier does not know.

        Raises:
            ServiceError: There are such.
        """
        unknown = sorted({name for rule in self.rule for name in rule.techniques} - set(known))
        if unknown:
            raise ServiceError(
                f"the policy names techniques {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        ServiceError: It cannot be read, or says something that no rule can mean.
    """
    try:
        return Policy.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ServiceError(f"{path}: the policy cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ServiceError(f"{path}: the policy must be TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ServiceError(f"{path}: {place}: {first['msg']}") from error

"""What checks of marks take."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=1_000_000)]
Id = Annotated[str, Field(min_length=1, max_length=1024)]
Token = Annotated[int, Field(ge=0, lt=2**31)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextRow(_Asked):
    """One text: words (the mark then needs its tokenizer) or token ids; every row of a check the same."""

    text: Text | None = None
    token_ids: list[Token] | None = Field(None, max_length=1_000_000)
    prompt: Text | None = Field(None, description="What it answers; what that holds does not count.")
    prompt_ids: list[Token] | None = Field(None, max_length=1_000_000)
    subject: str = Field("all", max_length=1024, description="Whose text it is.")


class CanaryRow(_Asked):
    """What a suspect says to the cue of a site; or how likely it finds a reply, in nats."""

    site_id: Id
    response: Text | None = None
    reply: list[int] | None = Field(None, max_length=64)
    logprob: Number | None = None


class TwinsRow(_Asked):
    """What a suspect says to the prompt of a site; or how likely it finds both answers, in nats."""

    site_id: Id
    response: Text | None = None
    logprob_0: Number | None = None
    logprob_1: Number | None = None


class ServedRow(_Asked):
    """A request that the gateway answered."""

    account_id: Id
    prompt: Text


class WatermarkCheck(_Asked):
    """Do texts bear a watermark? As `kdguard watermark detect`."""

    kind: Literal["watermark"]
    name: str = Field(max_length=100)
    texts: list[TextRow] = Field(min_length=1, max_length=200_000)
    decoys: int = Field(999, ge=1, le=9_999)
    alpha: float = Field(1e-6, gt=0, lt=1)


class RadioactivityCheck(_Asked):
    """Did suspects learn from text that bears a watermark? As `kdguard watermark radioactivity`, by what they write."""

    kind: Literal["radioactivity"]
    name: str = Field(max_length=100)
    texts: list[TextRow] = Field(
        min_length=1, max_length=200_000, description="Answers of suspects to prompts that bear no mark."
    )
    clean: list[TextRow] = Field(
        min_length=1, max_length=200_000, description="What models wrote that saw no mark."
    )
    known: list[TextRow] = Field(
        [], max_length=200_000, description="What the suspects were served, if known: only its windows count."
    )
    gate_bits: float = Field(
        1.0, ge=0, le=64, description="Least entropy of the clean models after a window."
    )
    decoys: int = Field(999, ge=1, le=9_999)
    alpha: float = Field(1e-6, gt=0, lt=1)


class CanaryCheck(_Asked):
    """Whose canaries did a suspect learn? As `kdguard canary verify`."""

    kind: Literal["canary"]
    name: str = Field(max_length=100)
    answers: list[CanaryRow] = Field(min_length=1, max_length=200_000)
    clean: list[CanaryRow] = Field([], max_length=200_000, description="Of models that never saw a mark.")
    accounts: list[Id] = Field([], max_length=1_000, description="Named beforehand; empty: all are searched.")
    alpha: float = Field(0.001, gt=0, lt=1)


class TwinsCheck(_Asked):
    """Whose released answers does a suspect prefer? As `kdguard twins verify`."""

    kind: Literal["twins"]
    name: str = Field(max_length=100)
    answers: list[TwinsRow] = Field(min_length=1, max_length=200_000)
    clean: list[TwinsRow] = Field(
        [], max_length=200_000, description="Of a model that never saw these answers."
    )
    served: list[ServedRow] = Field([], max_length=200_000, description="Only what was served counts.")
    accounts: list[Id] = Field([], max_length=1_000, description="Named beforehand, taken together.")
    everyone: bool = Field(False, description="Take all accounts together.")
    alpha: float = Field(0.001, gt=0, lt=1)


Check = Annotated[
    WatermarkCheck | RadioactivityCheck | CanaryCheck | TwinsCheck,
    Body(
        discriminator="kind",
        openapi_examples={
            "watermark": {
                "value": {
                    "kind": "watermark",
                    "name": "december",
                    "texts": [{"text": "...", "subject": "site-1"}],
                }
            },
            "radioactivity": {
                "value": {
                    "kind": "radioactivity",
                    "name": "december",
                    "texts": [{"token_ids": [17, 4, 256], "subject": "student-7"}],
                    "clean": [{"token_ids": [17, 9, 31]}],
                }
            },
            "canary": {
                "value": {
                    "kind": "canary",
                    "name": "december",
                    "answers": [{"site_id": "s001", "response": "It was founded in 1871."}],
                }
            },
            "twins": {
                "value": {
                    "kind": "twins",
                    "name": "december",
                    "answers": [{"site_id": "t001", "logprob_0": -41.5, "logprob_1": -38.25}],
                    "everyone": True,
                }
            },
        },
    ),
]

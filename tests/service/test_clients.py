"""The other faces of the real client: asynchronous, with its stream helper, and with raw responses."""

from __future__ import annotations

import asyncio
from typing import Any

import openai

from kdguard.service.teacher import create_teacher_app
from tests.service.asking import HELLO, until
from tests.service.conftest import tiny_teacher
from tests.service.serving import serving
from tests.service.test_log import NO_END

ASKED: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 12}


def test_many_asynchronous_requests_get_what_one_alone_gets(client: openai.OpenAI, url: str) -> None:
    alone = [
        client.chat.completions.create(**ASKED, seed=seed).choices[0].message.content for seed in range(4)
    ]

    async def whole(asker: openai.AsyncOpenAI, seed: int) -> str | None:
        told = await asker.chat.completions.create(**ASKED, seed=seed)
        return str(told.choices[0].message.content)

    async def streamed(asker: openai.AsyncOpenAI, seed: int) -> str | None:
        stream = await asker.chat.completions.create(**ASKED, seed=seed, stream=True)
        return "".join([part.choices[0].delta.content or "" async for part in stream])

    async def completed(asker: openai.AsyncOpenAI) -> str:
        stream = await asker.completions.create(model="tiny", prompt="The price", seed=1, stream=True)
        return "".join([part.choices[0].text async for part in stream])

    async def all_of_them() -> list[Any]:
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0) as asker:
            seeds = list(range(4)) * 4
            return await asyncio.gather(
                *(whole(asker, seed) for seed in seeds),
                *(streamed(asker, seed) for seed in seeds),
                completed(asker),
            )

    *texts, completion = asyncio.run(all_of_them())
    assert texts == alone * 8
    assert completion == client.completions.create(model="tiny", prompt="The price", seed=1).choices[0].text


def test_the_stream_helper_puts_the_answer_together(client: openai.OpenAI) -> None:
    long = client.chat.completions.create(**ASKED, seed=3).choices[0].message.content or ""
    letter = next(
        char for char in long[3:] if char.isascii()
    )  # the helper refuses an answer cut at its limit
    asked: dict[str, Any] = ASKED | {"seed": 3, "stop": letter, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked) as stream:
        kinds = {event.type for event in stream}
        again = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done", "logprobs.content.delta"} <= kinds
    assert again.choices[0].message.content == whole.choices[0].message.content
    assert again.choices[0].finish_reason == whole.choices[0].finish_reason
    assert again.choices[0].logprobs is not None
    assert whole.choices[0].logprobs is not None
    assert again.choices[0].logprobs.content == whole.choices[0].logprobs.content


def test_a_cancelled_task_frees_its_rows() -> None:
    teacher = tiny_teacher()

    async def cancelled(url: str) -> None:
        long: dict[str, Any] = ASKED | {"max_tokens": 200, "n": 60, "logit_bias": NO_END}
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0) as asker:
            task = asyncio.ensure_future(asker.chat.completions.create(**long))
            while teacher.engine.unfinished < 40:
                await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with serving(create_teacher_app(teacher)) as url:
        asyncio.run(cancelled(url))
        assert until(lambda: not teacher.busy, 5)

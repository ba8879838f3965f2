"""Speed of sampling a teacher with its top-20 log-probabilities, against `generate` of transformers.

`python -m tests.bench.sampling` prints one JSON line a workload. Both sides decode the same prompts with the same
weights and hand over the same: tokens, their log-probabilities and those of the 20 likeliest alternatives, on the
host. Parity is checked first; runs alternate, and the ratio is the median over rounds. On a CPU the seconds are those
that one thread computed, so that a busy machine changes little.

Workloads:
    greedy, sampled: one batch, every answer of full length. This is the speed of a step.
    ragged: four batches' worth of prompts whose answers end where the model ends them. `generate` runs every batch to
        its longest answer, the engine refills rows; counted are the tokens that belong to answers.

On a GPU: `python -m tests.bench.sampling --device cuda --dtype bfloat16 --hidden 640 --layers 10 --vocab 32000
--batch 256 --tokens 256`. There `generate` is also timed with a static cache, which it compiles; the better one counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from kdguard.distill.teachers.generation import Engine, Request

TOP = 20
PAD = 0
Side = Callable[["Workload"], "list[Answer]"]


class Answer(NamedTuple):
    """What both sides hand over for one prompt."""

    token_ids: np.ndarray[Any, Any]
    logprobs: np.ndarray[Any, Any]
    top_ids: np.ndarray[Any, Any]
    top_logprobs: np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is decoded.

    Attributes:
        name: Shown.
        prompts: Token ids of each.
        temperature: 0 is greedy.
        ends: Ids that end an answer.
    """

    name: str
    prompts: list[tuple[int, ...]]
    temperature: float
    ends: tuple[int, ...] = ()


def model_of(options: argparse.Namespace) -> Any:
    """A random Llama of the wanted shape."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=options.vocab,
        hidden_size=options.hidden,
        intermediate_size=4 * options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64,
        num_key_value_heads=max(1, options.hidden // 128),
        max_position_embeddings=options.context,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=PAD,
    )
    model: Any = LlamaForCausalLM(config)
    return model.to(options.device, getattr(torch, options.dtype)).eval()


def workloads(options: argparse.Namespace) -> list[Workload]:
    """The three of them; prompts are 16 to 64 random tokens."""
    rng = np.random.default_rng(0)

    def prompts(count: int) -> list[tuple[int, ...]]:
        lengths = rng.integers(16, 65, count)
        return [tuple(rng.integers(1, options.vocab, length).tolist()) for length in lengths]

    often = max(1, 2 * options.vocab // options.tokens)  # an answer has half of its full length on average
    ends = tuple(rng.choice(np.arange(1, options.vocab), often, replace=False).tolist())
    batch = prompts(options.batch)
    return [
        Workload(name="greedy", prompts=batch, temperature=0.0),
        Workload(name="sampled", prompts=batch, temperature=1.0),
        Workload(name="ragged", prompts=prompts(4 * options.batch), temperature=1.0, ends=ends),
    ]


class Ours:
    """The engine, made once as a teacher makes it."""

    def __init__(self, model: Any, options: argparse.Namespace, ends: Sequence[int]) -> None:
        self._tokens = options.tokens
        names = [b"x"] * options.vocab
        self._engine = Engine(
            model, token_bytes=names, ends=ends, rows=options.batch, context=options.context
        )

    def __call__(self, work: Workload) -> list[Answer]:
        requests = (
            Request(
                key=at,
                prompt_ids=prompt,
                max_tokens=self._tokens,
                temperature=work.temperature,
                seed=at,
                top_logprobs=TOP,
            )
            for at, prompt in enumerate(work.prompts)
        )
        done: list[Any] = sorted(self._engine.run(requests), key=lambda one: one.key)
        return [Answer(one.token_ids, one.logprobs, one.top_ids, one.top_logprobs) for one in done]


class Theirs:
    """`generate` with the logits of every step, and the log-probabilities taken from them afterwards."""

    def __init__(self, model: Any, options: argparse.Namespace, cache: str | None = None) -> None:
        self._model, self._batch, self._tokens, self._cache = model, options.batch, options.tokens, cache

    def __call__(self, work: Workload) -> list[Answer]:
        answers: list[Answer] = []
        for first in range(0, len(work.prompts), self._batch):
            answers += self._one_batch(work.prompts[first : first + self._batch], work)
        return answers

    @torch.inference_mode()
    def _one_batch(self, prompts: list[tuple[int, ...]], work: Workload) -> list[Answer]:
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), PAD)
        attended = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            attended[row, longest - len(prompt) :] = 1
        sampling: dict[str, Any] = {"do_sample": True, "temperature": work.temperature, "top_k": 0}
        out = self._model.generate(
            input_ids=ids.to(self._model.device),
            attention_mask=attended.to(self._model.device),
            max_new_tokens=self._tokens,
            eos_token_id=list(work.ends) or None,
            pad_token_id=PAD,
            output_logits=True,
            return_dict_in_generate=True,
            **({"cache_implementation": self._cache} if self._cache else {}),
            **(sampling if work.temperature else {"do_sample": False}),
        )
        return list(_told(out.sequences[:, longest:], out.logits, work.ends))


def _told(tokens: Tensor, logits: Sequence[Tensor], ends: Sequence[int]) -> Iterator[Answer]:
    """Log-probabilities step by step, so that no tensor holds all steps; answers are cut where they end."""
    steps = []
    for at, step in enumerate(logits):
        logprobs = step.float().log_softmax(-1)
        best = logprobs.topk(TOP, dim=-1)
        steps.append((logprobs.gather(1, tokens[:, at : at + 1])[:, 0], best.indices, best.values))
    chosen, top_ids, top_logprobs = (torch.stack(part, 1).cpu().numpy() for part in zip(*steps, strict=True))
    ids = tokens.cpu().numpy()
    for row in range(len(ids)):
        ending = np.flatnonzero(np.isin(ids[row], ends))
        end = int(ending[0]) if ending.size else ids.shape[1]
        yield Answer(ids[row, :end], chosen[row, :end], top_ids[row, :end], top_logprobs[row, :end])


def check_parity(ours: list[Answer], theirs: list[Answer], *, tolerance: float) -> float:
    """Refuse to compare what is not the same; greedy answers must agree until a tie within rounding.

    Returns:
        Largest difference of a log-probability before the first such tie.
    """
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        differ = np.flatnonzero(one.token_ids != other.token_ids)
        end = int(differ[0]) if differ.size else len(one.token_ids)
        gap = float(np.abs(one.top_logprobs[:end] - other.top_logprobs[:end]).max(initial=0.0))
        if differ.size:
            lead = other.top_logprobs[end, 0] - other.top_logprobs[end, 1]
            assert lead <= 2 * tolerance, f"greedy answers part at {end} where the lead is {lead}"
        assert gap <= tolerance, f"log-probabilities differ by {gap}"
        worst = max(worst, gap)
    return worst


def speed(side: Side, work: Workload, device: str) -> float:
    """Tokens a second of one run: of the clock on a GPU, of this process's one thread on a CPU."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    began = clock()
    answers = side(work)  # hands over arrays on the host, so that the device is done
    return sum(len(one.token_ids) for one in answers) / (clock() - began)


def compare(model: Any, work: Workload, options: argparse.Namespace) -> dict[str, Any]:
    """Alternate the sides; medians of tokens a second, and of the ratio against the better of theirs."""
    caches = [None, "static"] if options.device == "cuda" else [None]
    sides: dict[str, Side] = {"kdguard": Ours(model, options, work.ends)}
    sides |= {f"generate {cache or 'dynamic'}": Theirs(model, options, cache) for cache in caches}
    for side in sides.values():
        side(work)  # compile, capture, warm up
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, side in sides.items():
            speeds[name].append(speed(side, work, options.device))
    rivals = [values for name, values in speeds.items() if name != "kdguard"]
    ratios = [ours / max(others) for ours, *others in zip(speeds["kdguard"], *rivals, strict=True)]
    return {
        "bench": "sampling",
        "workload": work.name,
        "tokens_a_second": {name: round(statistics.median(values)) for name, values in speeds.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
    }


def main() -> None:
    """Run all workloads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    for name, usual in (
        *(("hidden", 256), ("layers", 4), ("vocab", 4096), ("context", 512)),
        *(("batch", 32), ("tokens", 64), ("rounds", 5), ("threads", 1)),
    ):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = model_of(options)
    greedy, *others = workloads(options)
    tolerance = 1e-3 if options.dtype == "float32" else 0.25
    gap = check_parity(Ours(model, options, ())(greedy), Theirs(model, options)(greedy), tolerance=tolerance)
    place = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(json.dumps({"bench": "sampling", "shape": vars(options), "device": place, "largest_gap": gap}))
    for work in (greedy, *others):
        print(json.dumps(compare(model, work, options)), flush=True)


if __name__ == "__main__":
    main()

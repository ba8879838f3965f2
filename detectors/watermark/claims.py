"""What may be claimed from marks, run again anywhere from a case: windows or weights, and the revealed key, in numbers.

A case holds what was scored, as numbers of tokens, and no key: which tokens count and what they weigh was decided
without one. That the numbers came from a suspect's text is shown by that text (`audit verify --input`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kdguard.detectors.watermark.detect import judge
from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.mark import Mark
from kdguard.detectors.watermark.radioactivity.contrast import radioactivity
from kdguard.detectors.watermark.radioactivity.sequential import Wealth, wealth_evidence
from kdguard.detectors.watermark.radioactivity.weights import Weighted
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.verdict import Verdict
from kdguard.detectors.watermark.windows import Ints, Repeats, Selected, Windows, identities
from kdguard.errors import WatermarkError
from kdguard.evidence import Abstention, Evidence
from kdguard.ledger.derivation import KeyName
from kdguard.stats.multiplicity import holm

Told = Mapping[str, Any]
Outcome = tuple[Evidence | Abstention, ...]


def marked_text(statistics: Told, parameters: Told, keys: Mapping[KeyName, bytes]) -> Outcome:
    """Test whether texts bear the committed mark, Holm-adjusted over all subjects that were searched.

    With a key for each account, over all accounts that have one, as committed, whichever keys are revealed.

    Args:
        statistics: `subjects` (name -> `tokens`, and `windows`: rows of the window's ids, oldest first, and the
            token's), `searched` (how many subjects were looked at), `decoys`.
        parameters: The mark, as committed.
        keys: The mark's key, or those of accounts that are named.
    """

    def ask(mark: Mark, key: MarkKey, name: str, told: Told) -> Verdict | Abstention:
        windows = _windows(told["windows"], mark.scheme, mark.scheme.repeats)
        counts = [np.array([number], np.int64) for number in (told["tokens"], 0, 0)]
        kept = Selected(windows, *counts)
        return judge(mark.scheme, key, kept, names=(name,), decoys=statistics["decoys"], committed=True)[0]

    return _adjusted(statistics, parameters, keys, ask)


def learnt_from_marked(statistics: Told, parameters: Told, keys: Mapping[KeyName, bytes]) -> Outcome:
    """Test whether suspects lean to the committed key's tokens, Holm-adjusted as in `marked_text`.

    Arguments as for `marked_text`; `subjects` hold `mode`, `tokens`, `used`, `pairs` (rows like windows), `weights`.
    """

    def ask(mark: Mark, key: MarkKey, name: str, told: Told) -> Verdict | Abstention:
        weights = np.asarray(told["weights"], np.float64)
        pairs = _windows(told["pairs"], mark.scheme, "pair")
        if weights.shape != (len(pairs),) or not np.isfinite(weights).all():
            raise WatermarkError(
                f"there must be one finite weight a pair, got {weights.shape} and {len(pairs)}"
            )
        weighted = Weighted(pairs, weights, int(told["tokens"]), int(told["used"]))
        return radioactivity(
            mark.scheme,
            key,
            weighted,
            subject=name,
            mode=told["mode"],
            decoys=statistics["decoys"],
            committed=True,
        )

    return _adjusted(statistics, parameters, keys, ask)


def wealth(statistics: Told, parameters: Told, keys: Mapping[KeyName, bytes]) -> Outcome:
    """Bet against H0 again, batch by batch; p = 1 / the largest wealth on the way, valid whenever one stopped.

    Args:
        statistics: `subject`, `batches` (a list of rows like windows for each batch; nothing twice).
        parameters: The mark, as committed.
        keys: The mark's key.
    """
    mark, (key, *others) = _opened(parameters, keys)
    if others:
        raise WatermarkError(f"bets are on one key, the case has {len(keys)}")
    state = Wealth(mark.scheme, key)
    for rows in statistics["batches"]:
        state = state.bet(_windows(rows, mark.scheme, mark.scheme.repeats))
    return (wealth_evidence(state, statistics["subject"], committed=True),)


def text_statistics(
    kept: Selected, names: Sequence[str], subjects: Sequence[str], decoys: int
) -> dict[str, Any]:
    """What `marked_text` takes, of some of the subjects that were searched.

    Args:
        kept: What counts of each subject.
        names: All subjects.
        subjects: Those that a case is about.
        decoys: Decoy keys.
    """
    told = {}
    for name in subjects:
        at = names.index(name)
        rows = rows_of(kept.windows.take(kept.windows.subjects == at))
        told[name] = {"tokens": int(kept.tokens[at]), "windows": rows}
    return {"subjects": told, "searched": len(names), "decoys": decoys}


def rows_of(windows: Windows) -> list[list[int]]:
    """Windows with their tokens as plain numbers."""
    rows: list[list[int]] = np.column_stack((windows.before, windows.tokens)).tolist()
    return rows


def _adjusted(
    statistics: Told,
    parameters: Told,
    keys: Mapping[KeyName, bytes],
    ask: Callable[[Mark, MarkKey, str, Told], Verdict | Abstention],
) -> Outcome:
    mark, opened = _opened(parameters, keys)
    found = [ask(mark, key, name, told) for key in opened for name, told in statistics["subjects"].items()]
    return adjusted(found, int(statistics["searched"]) * mark.accounts)


def adjusted(found: Sequence[Verdict | Abstention], searched: int) -> Outcome:
    """Verdicts as evidence, Holm-adjusted over how many pairs of subject and key were searched, these included."""
    verdicts = [one for one in found if isinstance(one, Verdict)]
    p_values = iter(holm([one.p_value for one in verdicts], searched).tolist())
    return tuple(one.evidence(next(p_values)) if isinstance(one, Verdict) else one for one in found)


def _opened(parameters: Told, keys: Mapping[KeyName, bytes]) -> tuple[Mark, list[MarkKey]]:
    mark = Mark.of(parameters)
    if not 1 <= len(keys) <= mark.accounts or len({name.epoch for name in keys}) > 1:
        raise WatermarkError(
            f"a mark with {mark.accounts} accounts has as many keys, of one epoch; the case has {len(keys)} keys"
        )
    return mark, [mark.key_of(secret, name.account) for name, secret in keys.items()]


def _windows(rows: Sequence[Sequence[int]], scheme: Scheme, repeats: Repeats) -> Windows:
    table: Ints = np.asarray(rows, np.int64).reshape(-1, scheme.width + 1)
    before, tokens = table[:, : scheme.width], table[:, scheme.width]
    windows = Windows(before, tokens, np.zeros(len(table), np.int64))
    if len(np.unique(identities(windows, scheme.sources(windows), repeats))) < len(table):
        raise WatermarkError(f"a {repeats} must be counted once; the case has some twice")
    return windows

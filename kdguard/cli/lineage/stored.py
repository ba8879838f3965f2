"""`kdguard lineage test`: a suspect by its answers, its weights or its labels."""

from __future__ import annotations

from kdguard.cli.audit.options import Keys
from kdguard.cli.lineage.labels import labels
from kdguard.cli.lineage.levels import alone, needed
from kdguard.cli.lineage.options import (
    Adjust,
    Again,
    Alpha,
    AnswersFolder,
    Budget,
    CaseFile,
    CommittedFile,
    Concurrency,
    ControlKinds,
    ControlsFile,
    EncoderFolder,
    Epoch,
    FamiliesFile,
    KeyVariable,
    LabelledRows,
    MaxTokens,
    NamedFamilies,
    Owned,
    Permission,
    ProbesFile,
    ReportFile,
    RequestsPerMinute,
    ResponsesFiles,
    Seed,
    SuspectClassifiers,
    SuspectModel,
    SuspectNames,
    SuspectUrl,
    SuspectWeights,
    System,
    TeacherClassifier,
    TeacherWeights,
    Temperature,
    TokenBudget,
    VerdictsAsJson,
    endpoint,
)
from kdguard.cli.lineage.weights import weights

QUERIES = 100
"""Most that a classifier is asked where no budget is given."""


def examine(
    responses: ResponsesFiles = None,
    families: FamiliesFile = None,
    suspect: SuspectNames = None,
    family: NamedFamilies = None,
    adjust: Adjust = True,
    controls: ControlsFile = None,
    control_kind: ControlKinds = None,
    alpha: Alpha = 0.01,
    budget: Budget = None,
    seed: Seed = 0,
    suspect_url: SuspectUrl = None,
    suspect_model: SuspectModel = "default",
    suspect_weights: SuspectWeights = None,
    teacher_weights: TeacherWeights = None,
    suspect_classifier: SuspectClassifiers = None,
    teacher_classifier: TeacherClassifier = None,
    data: LabelledRows = None,
    out: AnswersFolder = None,
    probes: ProbesFile = None,
    encoder: EncoderFolder = None,
    again: Again = True,
    key_variable: KeyVariable = None,
    owned: Owned = None,
    permission: Permission = None,
    max_tokens: MaxTokens = 512,
    temperature: Temperature = 1.0,
    system: System = None,
    requests_per_minute: RequestsPerMinute = None,
    concurrency: Concurrency = 8,
    token_budget: TokenBudget = None,
    report: ReportFile = None,
    case: CaseFile = None,
    committed: CommittedFile = None,
    epoch: Epoch = None,
    keys: Keys = None,
    as_json: VerdictsAsJson = False,
) -> None:
    """Test suspects against teacher families: by stored answers, live, by weights, or as classifiers.

    Stored or live answers need --responses and --families. 'lineage weights' and 'lineage labels' have more options
    for the other two, 'lineage logprobs' reads log-probabilities.

    Exit status: 0 nothing supported, 1 a lineage is supported, 2 bad usage or input.
    """
    from kdguard.cli.lineage.against import against
    from kdguard.cli.lineage.answers import Kept, Live, examine_answers, finish_answers
    from kdguard.lineage import Claim
    from kdguard.lineage.asking import Manner

    by_answers: dict[str, object] = {"--responses": responses, "--families": families, "--controls": controls}
    by_answers |= {"--suspect": suspect, "--family": family, "--suspect-url": suspect_url}
    by_answers |= {"--report": report, "--committed": committed, "--encoder": encoder}
    by_weights: dict[str, object] = {
        "--suspect-weights": suspect_weights,
        "--teacher-weights": teacher_weights,
    }
    by_labels: dict[str, object] = {"--suspect-classifier": suspect_classifier, "--data": data}
    by_labels |= {"--teacher-classifier": teacher_classifier}
    if suspect_weights is not None:
        alone("--suspect-weights", by_answers | by_labels | {"--budget": budget})
        teacher = needed(teacher_weights, "--teacher-weights", "--suspect-weights")
        weights(suspect_weights, teacher, seed=seed, alpha=alpha, case=case, as_json=as_json)
    if suspect_classifier:
        alone("--suspect-classifier", by_answers | by_weights)
        labels(
            needed(data, "--data", "--suspect-classifier"),
            needed(teacher_classifier, "--teacher-classifier", "--suspect-classifier"),
            suspect_classifier,
            queries=budget or QUERIES,
            seed=seed,
            alpha=alpha,
            owned=owned,
            permission=permission,
            case=case,
            as_json=as_json,
        )
    alone("a suspect known by its answers", by_weights | by_labels)
    tables = needed(responses, "--responses", "a suspect known by its answers")
    described = needed(families, "--families", "a suspect known by its answers")
    claim = Claim(alpha=alpha, named=tuple(family or ()), adjust=adjust)
    compared = against(
        tables,
        described,
        controls,
        control_kind,
        claim,
        seed=seed,
        budget=budget,
        probes=probes,
        encoder=encoder,
    )
    live = None
    if suspect_url is not None:
        manner = Manner(max_tokens=max_tokens, temperature=temperature, system=system)
        reached = endpoint(
            suspect_url,
            suspect_model,
            key_variable=key_variable,
            owned=owned,
            permission=permission,
            requests_per_minute=requests_per_minute,
            concurrency=concurrency,
        )
        live = Live(reached, out, probes, manner, again, token_budget)
    found = examine_answers(compared, suspect or ([suspect_model] if live else []), live)
    files = [
        path for path in (*tables, out if suspect_url else None, described, controls) if path is not None
    ]
    kept = Kept(report, case, committed, epoch, keys)
    finish_answers(found, compared, files, kept, as_json=as_json)

"""`kdguard lineage test`: a suspect by its answers, its weights or its labels."""

from __future__ import annotations

from kdguard.cli.audit.options import Keys
from kdguard.cli.lineage.labels import labels
from kdguard.cli.lineage.levels import BY_LABELS, BY_WEIGHTS, needed, way_of
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
    key_in,
)
from kdguard.cli.lineage.weights import weights
from kdguard.distill.teachers.reach import Reach

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

    given: dict[str, object] = {"--responses": responses, "--families": families, "--controls": controls}
    given |= {"--suspect": suspect, "--family": family, "--suspect-url": suspect_url, "--report": report}
    given |= {"--committed": committed, "--encoder": encoder, "--budget": budget}
    given |= {BY_LABELS: suspect_classifier, "--data": data, "--teacher-classifier": teacher_classifier}
    given |= {BY_WEIGHTS: suspect_weights, "--teacher-weights": teacher_weights}
    way = way_of(given)
    if suspect_weights is not None:
        teacher = needed(teacher_weights, "--teacher-weights", way)
        weights(suspect_weights, teacher, seed=seed, alpha=alpha, case=case, as_json=as_json)
    if suspect_classifier:
        labels(
            needed(data, "--data", way),
            needed(teacher_classifier, "--teacher-classifier", way),
            suspect_classifier,
            queries=budget or QUERIES,
            seed=seed,
            alpha=alpha,
            owned=owned,
            permission=permission,
            case=case,
            as_json=as_json,
        )
    tables, described = needed(responses, "--responses", way), needed(families, "--families", way)
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
        reach = Reach(
            url=suspect_url,
            model=suspect_model,
            key=key_in(key_variable),
            owned=owned,
            permission=permission,
            requests_per_minute=requests_per_minute,
            concurrency=concurrency,
        )
        manner = Manner(max_tokens=max_tokens, temperature=temperature, system=system)
        live = Live(reach, out, probes, manner, again, token_budget)
    found = examine_answers(compared, suspect or ([suspect_model] if live else []), live)
    files = [*tables, out if live else None, described, controls]
    kept = Kept(report, case, committed, epoch, keys)
    finish_answers(found, compared, files, kept, as_json=as_json)

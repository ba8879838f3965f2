"""Keys and limits."""

from __future__ import annotations

import math
import socket
from pathlib import Path

import httpx
import openai
import pytest

from kdguard.distill.teachers.classifier import ClassifierTeacher
from kdguard.errors import TeacherError
from kdguard.service.accounts import Accounts, add_account, hash_of, read_accounts
from kdguard.service.rate_limit import RateLimit
from kdguard.service.teacher import TeacherSettings, create_teacher_app, listen
from tests.service.asking import ask, client
from tests.service.conftest import tiny_teacher
from tests.service.serving import serving

DIGEST = "0" * 64


def test_keys_are_kept_as_hashes_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = [add_account(path, name, org_id="org-1") for name in ("a", "b", "a")]
    text = path.read_text()
    assert len(set(keys)) == 3
    assert not any(key in text for key in keys)
    found = read_accounts(path)
    assert [(one.account_id, one.key_hash) for one in found] == [
        (name, hash_of(key)) for name, key in zip("aba", keys, strict=True)
    ]
    assert path.stat().st_mode & 0o077 == 0
    accounts = Accounts(found)
    assert [getattr(accounts.find(key), "account_id", None) for key in (*keys, "x", "", None)] == [
        *"aba",
        None,
        None,
        None,
    ]


def test_without_a_file_every_key_is_an_account() -> None:
    accounts = Accounts(None)
    found = [accounts.find(key) for key in ("one", "two", "one", None)]
    names = [account.account_id for account in found if account is not None]
    assert names[0] == names[2] != names[1]
    assert names[3] == "anonymous"
    assert "one" not in names[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"schema_version": 2, "accounts": []}',
        '{"schema_version": 1, "accounts": [7]}',
        '{"schema_version": 1, "accounts": [{"account_id": "a"}]}',
        '{"schema_version": 1, "accounts": [{"account_id": "a", "key_hash": "xyz"}]}',
        '{"schema_version": 1, "accounts": [{"account_id": "a", "key_hash": "' + "A" * 64 + '"}]}',
        f'{{"schema_version": 1, "accounts": [{{"account_id": 7, "key_hash": "{DIGEST}"}}]}}',
        f'{{"schema_version": 1, "accounts": [{{"account_id": "a", "key_hash": "{DIGEST}", "key": "k"}}]}}',
        f'{{"schema_version": 1, "accounts": {[{"account_id": "a", "key_hash": DIGEST}] * 2}}}'.replace(
            "'", '"'
        ),
        f'{{"schema_version": 1, "accounts": '
        f'[{{"account_id": "a", "key_hash": "{DIGEST}", "requests_per_minute": 0}}]}}',
    ],
)
def test_damaged_keys_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(TeacherError, match=r"keys\.json"):
        read_accounts(path)
    with pytest.raises(TeacherError):
        create_teacher_app(ClassifierTeacher(len, ["a", "b"], name="x"), TeacherSettings(keys=path))


@pytest.mark.parametrize("limit", [0, -1, math.inf, math.nan, True])
def test_an_account_that_could_not_be_read_again_is_not_written(tmp_path: Path, limit: float) -> None:
    with pytest.raises(TeacherError, match="requests_per_minute must be above 0"):
        add_account(tmp_path / "keys.json", "a", requests_per_minute=limit)
    with pytest.raises(TeacherError, match="account_id"):
        add_account(tmp_path / "keys.json", " ")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TeacherError, match="cannot be written"):
        add_account(tmp_path / "no" / "keys.json", "a")


def test_buckets_refill_evenly() -> None:
    now = 0.0
    rate = RateLimit(clock=lambda: now)
    first = [rate.take("a", 60).allowed for _ in range(61)]
    assert first == [True] * 60 + [False]
    refused = rate.take("a", 60)
    assert 0.9 < refused.wait_s <= 1.0
    assert refused.headers()["retry-after"] == "1"
    assert rate.take("b", 60).allowed
    now = 1.0
    assert rate.take("a", 60).allowed
    assert not rate.take("a", 60).allowed
    now = 1e9
    assert sum(rate.take("a", 60).allowed for _ in range(100)) == 60
    assert [rate.take("slow", 0.1).allowed for _ in range(2)] == [True, False]
    assert rate.take("slow", 0.1).headers()["retry-after"] == "600"


def test_buckets_that_are_full_again_are_forgotten() -> None:
    now = 0.0
    rate = RateLimit(clock=lambda: now)
    for name in range(1_000):
        rate.take(str(name), 60)
    for moment in (59.0, 61.0, 125.0):
        now = moment
        rate.take("busy", 60)
    assert list(rate._buckets) == ["busy"]


def test_unknown_keys_and_too_many_requests(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    add_account(keys, "acct-1")
    two = add_account(keys, "acct-2", requests_per_minute=2)
    with serving(create_teacher_app(tiny_teacher(), TeacherSettings(keys=keys))) as url:
        for key in ("nope", two[:-1]):
            with client(url, key) as stranger, pytest.raises(openai.AuthenticationError) as refused:
                ask(stranger)
            assert refused.value.code == "invalid_api_key"
            assert key not in str(refused.value)
        with httpx.Client(base_url=url) as raw:
            assert raw.get("/v1/models").status_code == 401
            # a stranger's body is not even read
            assert raw.post("/v1/chat/completions", content=b'{"model": ').status_code == 401
        with client(url, two) as asker:
            told = asker.chat.completions.with_raw_response.create(
                model="tiny", messages=[{"role": "user", "content": "a"}], max_tokens=1
            )
            assert told.headers["x-ratelimit-remaining-requests"] == "1"
            assert told.headers["x-request-id"].startswith("req-")
            with ask(asker, stream=True) as stream:
                assert stream.response.headers["x-ratelimit-remaining-requests"] == "0"
            with pytest.raises(openai.RateLimitError) as limited:
                ask(asker)
    assert limited.value.code == "rate_limit_exceeded"
    assert 1 <= int(limited.value.response.headers["retry-after"]) <= 30
    assert limited.value.response.headers["x-ratelimit-limit-requests"] == "2"


def test_the_client_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    """One request every two seconds: one repeat after a pause of the SDK's own, half a second, would not do."""
    keys = tmp_path / "keys.json"
    key = add_account(keys, "acct-1", requests_per_minute=30)
    with serving(create_teacher_app(tiny_teacher(), TeacherSettings(keys=keys))) as url:
        patient = openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=1, timeout=60)
        with patient, httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}) as raw:
            while raw.get("/v1/models").status_code == 200:
                pass
            assert ask(patient).choices


def test_small_answers_are_not_held_back() -> None:
    """Without this option the head of an answer waits 40 ms for the client's acknowledgement."""
    with listen("127.0.0.1", 0) as opened, socket.create_connection(opened.getsockname()[:2]):
        accepted, _ = opened.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

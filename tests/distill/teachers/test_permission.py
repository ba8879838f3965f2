"""Which addresses may be asked without a declaration."""

from __future__ import annotations

import pytest

from kdguard.distill.teachers.permission import check_address
from kdguard.errors import TeacherError


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://127.0.0.1",
        "https://127.8.9.1/v1",
        "http://localhost:1234/v1",
        "http://LOCALHOST./v1",
        "http://[::1]:8000/v1",
        "http://[::ffff:127.0.0.1]/v1",
    ],
)
def test_this_machine_needs_no_declaration(url: str) -> None:
    told = check_address(url)
    assert told.loopback
    assert told.record() == {"address": told.address, "loopback": True, "owned": None, "permission": None}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1.evil.com/v1",
        "http://localhost.evil.com/v1",
        "http://evil.com/127.0.0.1",
        "https://api.example.com/v1",
        "http://192.168.0.4:8000/v1",
        "http://0.0.0.0:8000",
        "http://[::]:8000",
        "http://[fe80::1]:8000",
        "http://2130706433/v1",
        "http://0x7f.1/v1",
        "http://127.1/v1",
        "http://host.docker.internal/v1",
    ],
)
def test_every_other_host_needs_a_declaration(url: str) -> None:
    with pytest.raises(TeacherError, match="declare 'owned'"):
        check_address(url)
    told = check_address(url, permission="  Example Ltd., contract of 2026-01-05, section 4 ")
    assert not told.loopback
    assert told.record()["permission"] == "Example Ltd., contract of 2026-01-05, section 4"
    assert check_address(url, owned="our own staging cluster").owned == "our own staging cluster"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1@evil.com/v1",
        "http://user:password@127.0.0.1/v1",
        "http://127.0.0.1\\@evil.com/v1",
        "http://127.0.0.1%2eevil.com/v1",
        "http://127.0.0.1 .evil.com",
        "http://127.0.0.1/v1?next=evil.com",
        "http://127.0.0.1/v1#x",
        "http://127.0.0.1:99999/v1",
        "http://[::1",
        "http://\uff11\uff12\uff17.0.0.1/v1",
        "ftp://127.0.0.1/v1",
        "file:///etc/passwd",
        "//127.0.0.1/v1",
        "127.0.0.1:8000",
        "http://",
        "",
        "http://127.0.0.1\n.evil.com",
    ],
)
def test_what_is_not_a_plain_address_is_refused_whatever_is_declared(url: str) -> None:
    with pytest.raises(TeacherError):
        check_address(url, owned="ours, all of it")


@pytest.mark.parametrize("text", ["", "  ", "me"])
def test_a_declaration_must_say_something(text: str) -> None:
    with pytest.raises(TeacherError, match="must say in words"):
        check_address("https://api.example.com/v1", owned=text)

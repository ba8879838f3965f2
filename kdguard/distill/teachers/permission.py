"""Whom an attack may talk to: this machine, or an address whose use somebody declared to be theirs.

Names are never looked up. `localhost` and literal loopback addresses are this machine; every other host,
whatever it may resolve to, needs a declaration, which goes into the manifest of the run.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from kdguard.errors import TeacherError

_PLAIN = re.compile(r"[A-Za-z0-9._~:/\[\]-]+")  # no user part, no backslash, no space, no percent sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Why an address may be used; kept in manifests.

    Attributes:
        address: Scheme, host and port.
        loopback: The address is this machine.
        owned: Who owns the endpoint, in the declarer's words.
        permission: Who permitted the use of somebody else's endpoint, and where that is written.
    """

    address: str
    loopback: bool
    owned: str | None = None
    permission: str | None = None

    def record(self) -> dict[str, Any]:
        """The declaration as plain values, for manifests."""
        return asdict(self)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: `localhost`, 127.0.0.0/8 or ::1, written plainly."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    inner = getattr(address, "ipv4_mapped", None)
    return bool((inner or address).is_loopback)


def check_address(url: str, *, owned: str | None = None, permission: str | None = None) -> Permission:
    """Allow loopback, and other addresses for which ownership or permission is declared.

    Args:
        url: Address of an endpoint, `http` or `https`.
        owned: Declares that the endpoint is the user's own: whose it is.
        permission: Declares that its owner permits the use: who, and where that is written.

    Returns:
        The declaration, for the manifest.

    Raises:
        TeacherError: The address is malformed, or is not loopback and nothing was declared.
    """
    host, address = _parts(url)
    owned, permission = _declared("owned", owned), _declared("permission", permission)
    local = is_loopback(host)
    if not local and owned is None and permission is None:
        raise TeacherError(
            f"{address} is not this machine: declare 'owned' (whose endpoint it is) or 'permission' (who "
            "permits its use, and where that is written); the declaration is kept in the manifest"
        )
    return Permission(address=address, loopback=local, owned=owned, permission=permission)


def _parts(url: str) -> tuple[str, str]:
    if not _PLAIN.fullmatch(url):
        raise TeacherError(
            f"an endpoint must be a plain http or https address without user, query or escapes, got {url!r}"
        )
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        raise TeacherError(f"an endpoint must be an address, got {url!r}: {error}") from error
    if split.scheme not in ("http", "https") or not split.hostname:
        raise TeacherError(f"an endpoint must start with http:// or https:// and name a host, got {url!r}")
    host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
    return split.hostname, f"{split.scheme}://{host}" + (f":{port}" if port is not None else "")


def _declared(name: str, text: str | None) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str) or len(text.strip()) < 3:
        raise TeacherError(f"'{name}' must say in words whose endpoint it is or who permits it, got {text!r}")
    return text.strip()

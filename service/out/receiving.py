"""The receiver's side of a webhook: was it sent by the service, lately, and for the first time?

It imports nothing of the service, so a receiver can use it, or do the same in another language.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kdguard.errors import ServiceError

TOLERANCE_S = 300.0
"""A delivery whose signature is older, or of a later time, is refused."""
_SIGNATURE = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})", re.ASCII)


@dataclass(slots=True)
class Receiver:
    """Checks deliveries of one webhook.

    Ids are remembered only as long as their signature could be taken: what is older is refused by its time. A receiver
    of several processes keeps them in one place, such as a table whose key is the id.

    Attributes:
        secret: What `POST /v1/webhooks` answered.
        tolerance_s: Seconds by which the clocks may differ, and for which a delivery may be on its way.
    """

    secret: str
    tolerance_s: float = TOLERANCE_S
    _seen: dict[str, float] = field(default_factory=dict)

    def is_news(self, headers: Mapping[str, str], body: bytes, now_s: float) -> bool:
        """Whether a delivery is to be acted upon; False where it was before: answer 200 then, or it comes again.

        The service sends an event again, signed anew, until it is answered with 2xx, so honest repeats are common.

        Args:
            headers: Of the request, in lower case.
            body: Of the request, byte for byte.
            now_s: Seconds since 1970.

        Raises:
            ServiceError: It was not signed with the secret, or not lately: answer 401.
        """
        event = headers.get("kdguard-event", "")
        signature = _SIGNATURE.fullmatch(headers.get("kdguard-signature", ""))
        if signature is None:
            raise ServiceError("a delivery must have a kdguard-signature of the form t=SECONDS,v1=HEX")
        told = f"{signature[1]}.{event}.".encode() + body
        expected = hmac.digest(self.secret.encode(), told, hashlib.sha256).hex()
        if not hmac.compare_digest(expected, signature[2]):
            raise ServiceError("the signature of a delivery does not fit its time, id and body")
        if abs(now_s - int(signature[1])) > self.tolerance_s:
            raise ServiceError(f"a delivery must be signed within {self.tolerance_s:.0f} s of now")
        self._seen = {name: ends_s for name, ends_s in self._seen.items() if ends_s >= now_s}
        new = event not in self._seen
        # a repeat that was signed later can come back as much later
        self._seen[event] = max(self._seen.get(event, 0.0), int(signature[1]) + self.tolerance_s)
        return new

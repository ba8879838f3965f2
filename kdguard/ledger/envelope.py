"""Signed envelopes: DSSE with Ed25519, one signature, in exactly one spelling."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from kdguard.errors import LedgerError, RefusedError
from kdguard.ledger.canonical import canonical, parse


def signer_id(public: bytes) -> str:
    """Name of a signing key: SHA-256 over its canonical description, as securesystemslib computes it."""
    return _public(public).keyid


def sign(payload: bytes, payload_type: str, private: Ed25519PrivateKey) -> dict[str, Any]:
    """Sign bytes; returns the envelope as JSON."""
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(CryptoSigner(private))
    return envelope.to_dict()


def seal(statement: Any, payload_type: str, private: Ed25519PrivateKey) -> dict[str, Any]:
    """Sign a JSON value in its canonical form; returns the envelope as JSON."""
    return sign(canonical(statement), payload_type, private)


def open_sealed(envelope: Any, payload_type: str, public: bytes) -> Any:
    """Return the JSON value of an envelope, after verifying it.

    Args:
        envelope: As `seal` returned it.
        payload_type: What it must say it holds.
        public: The 32 bytes of the Ed25519 key that must have signed.

    Raises:
        RefusedError: Anything at all differs from what that key signed, the spelling of the base64 included.
    """
    try:
        return parse(_verified(envelope, payload_type, public))
    except LedgerError as error:
        raise RefusedError(f"the signed payload {error}") from error


def _verified(envelope: Any, payload_type: str, public: bytes) -> bytes:
    key = _public(public)
    try:
        # `from_dict` changes the signatures it is given.
        given = dict(envelope, signatures=[dict(signature) for signature in envelope["signatures"]])
        opened = Envelope.from_dict(given)
        if opened.to_dict() != envelope:
            raise RefusedError("the envelope is not spelt as it was signed")
        if opened.payload_type != payload_type or len(opened.signatures) != 1:
            raise RefusedError(f"the envelope must hold one {payload_type} with one signature")
        opened.verify([key], 1)
    except VerificationError as error:
        raise RefusedError(
            f"the signature is not by key {key.keyid[:16]}, or the content was changed"
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"the envelope is damaged ({type(error).__name__})") from error
    return opened.payload


def _public(public: bytes) -> SSlibKey:
    try:
        return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise RefusedError(f"a public key must be 32 bytes of Ed25519, got {len(public)}") from error

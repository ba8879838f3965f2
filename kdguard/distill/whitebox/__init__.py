"""Objectives that look inside the teacher; only for teachers whose owner said so (`consent.OwnerConsent`)."""

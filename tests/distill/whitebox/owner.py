"""A declaration for the tests."""

from kdguard.distill.whitebox.consent import OwnerConsent

OWNER = OwnerConsent(teacher="teacher-a", owner="the tests")

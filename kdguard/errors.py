"""Every error kdguard raises on purpose.

The tree a caller needs to know::

    KdguardError
      + InputError (ValueError)          something given to us cannot be used; exit status 2
        - LogError                       a log file as a whole: unknown format, no readable line
        - RecordError                    one record: named by file:line, counted, never fatal
        - AccountsError                  the accounts table
        - BaselineError                  a baseline of another version, damaged, or too small
        - WorldError                     a simulation world or campaign file
"""

from __future__ import annotations


class KdguardError(Exception):
    """Root of all errors raised on purpose."""


class InputError(KdguardError, ValueError):
    """Something given to kdguard cannot be used as it is."""


class LogError(InputError):
    """A log file as a whole cannot be read."""


class RecordError(InputError):
    """One record of a log cannot be read; the rest of the log can."""


class AccountsError(InputError):
    """The accounts table is missing a column or holds an impossible value."""


class BaselineError(InputError):
    """A baseline cannot be used: other version, damaged, or too small."""


class WorldError(InputError):
    """A world or campaign description is wrong."""

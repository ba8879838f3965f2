"""Every error kdguard raises on purpose.

The tree a caller needs to know::

    KdguardError
      + InputError (ValueError)          something given to us cannot be used; exit status 2
        - LogError                       a log file as a whole: unknown format, no readable line
        - RecordError                    one record: named by file:line, counted, never fatal
        - AccountsError                  the accounts table
        - BaselineError                  a baseline of another version, damaged, or too small
        - StateError                     stored detector state of another version, or damaged
        - PluginError                    a third party's detector or test cannot be used
        - WorldError                     a simulation world or campaign file
        - TranscriptError                a folder of transcripts: damaged, other version, disk full, wrong import
        - ModelError                     a model folder: not safe to load, damaged or incomplete
        - TrainingError                  a shape, recipe, checkpoint or training data; or training diverged
        - TeacherError                   a teacher: address not permitted, request it cannot serve, keys file
        - AttackError                    an attack recipe, tactic or selection that cannot be run
        - LedgerError                    keys or ledger: missing, damaged, rewritten, readable by others
        - WatermarkError                 a mark: wrong key, parameters, token ids or tokenizer
        - CanaryError                    a canary plan, or answers that do not belong to it
        - TwinsError                     a twins plan, or preferences that do not belong to it
        - LineageError                   answers, families or controls of a lineage test
        - ServiceError                   the scoring service: settings, keys, its database or folder
        - OwnershipError                 a white-box objective without a declaration of owning its teacher
      + RefusedError                     a signature or bundle that does not verify; exit status 1
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


class WatermarkError(InputError):
    """A watermark cannot be looked for or written: wrong key, parameters, token ids or tokenizer."""


class WorldError(InputError):
    """A world or campaign description is wrong."""


class AttackError(InputError):
    """An attack recipe, tactic or selection asks for something impossible or not permitted."""


class TeacherError(InputError):
    """A teacher cannot be used as asked: address not permitted, impossible request or setting, damaged keys file."""


class TrainingError(InputError):
    """A student cannot be trained: shape, recipe, data or checkpoint unusable, or the loss stopped being finite."""


class TranscriptError(InputError):
    """Transcripts cannot be written or read: damaged, of another version, disk full, or made of unusable values."""


class ModelError(InputError):
    """A model folder is not safe to load, damaged or incomplete."""


class StateError(InputError):
    """Stored detector state is of other detectors or versions, or damaged."""


class OwnershipError(InputError):
    """A white-box objective was asked for without a declaration of owning the teacher."""


class PluginError(InputError):
    """A detector or test that another distribution brings cannot be used."""


class LedgerError(InputError):
    """Keys or ledger cannot be used: missing, damaged, rewritten, or readable by others than their owner."""


class CanaryError(InputError):
    """Canaries cannot be planned, placed or looked for: impossible budget, or answers of another plan."""


class TwinsError(InputError):
    """Twins cannot be planned or tested: unusable answers or preferences, or rows changed since they were committed."""


class LineageError(InputError):
    """Answers, families or controls of a lineage test cannot be used as they are."""


class ServiceError(InputError):
    """The scoring service cannot run as asked: settings, keys, its database or its folder."""


class RefusedError(KdguardError):
    """Something signed does not verify, or does not say what it was signed for."""

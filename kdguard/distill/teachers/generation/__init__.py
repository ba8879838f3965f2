"""Batched decoding: ragged prompts, a static cache of keys and values, finished rows refilled while others run."""

from kdguard.distill.teachers.generation.engine import Engine
from kdguard.distill.teachers.generation.request import Completion, Piece, Request

__all__ = ["Completion", "Engine", "Piece", "Request"]

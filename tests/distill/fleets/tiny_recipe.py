"""The smallest recipe that has one of everything."""

from __future__ import annotations

from kdguard.distill.fleets.recipe import Recipe

SHIPPED = ("aurora", "aurora-topk-100")


def tiny_recipe() -> Recipe:
    return Recipe.model_validate(
        {
            "schema_version": 1,
            "name": "tiny",
            "seed": 3,
            "shape": "micro",
            "vocabulary": 320,
            "length": 128,
            "context": 160,
            "facts": 6,
            "controls": 3,
            "fleet": 12,
            "shipped": SHIPPED,
            "origins": {
                "teachers": ("aurora", "basalt"),
                "bases": 1,
                "base_worlds": 1,
                "examples": 12,
                "steps": 2,
                "rows": 1,
                "learning_rate": 1e-2,
            },
            "harvest": {
                "accounts": 2,
                "served": 6,
                "withheld": 3,
                "temperature": 1.0,
                "top": 3,
                "max_tokens": 8,
            },
            "students": {
                "tokens": 20,
                "routes": ("text", "topk"),
                "doses": (1.0, 0.5),
                "pairs": False,
                "tainted_doses": (0.5,),
                "steps": 2,
                "rows": 1,
                "learning_rate": 5e-3,
            },
            "descendants": {
                "parents": ("text",),
                "routes": ("topk",),
                "doses": (1.0,),
                "pruned": (0.3,),
                "merged": (0.5,),
                "tuned": (0.5,),
            },
            "probes": {"prompts": 2, "max_tokens": 6, "top": 3, "tokens": 2, "texts": 2},
        }
    )

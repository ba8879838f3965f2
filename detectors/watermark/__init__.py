"""Marks in text: Gumbel-max and SynthID as vLLM and transformers write them, green lists of its own and of KGW."""

"""Canaries: small harmless choices in an account's answers that a key made, looked for later in a suspect's answers."""

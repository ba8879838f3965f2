"""Keys, commitments and signatures. Knows nothing of evidence, logs or models; see README.md."""

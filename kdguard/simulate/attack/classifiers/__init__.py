"""Extraction of classifiers: knock-off, Jacobian augmentation and label-only attacks, with budget curves."""

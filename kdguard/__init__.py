"""kdguard."""

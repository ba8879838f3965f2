"""Teachers behind an API: endpoint, local model, classifier and replay; and the driver that asks them."""

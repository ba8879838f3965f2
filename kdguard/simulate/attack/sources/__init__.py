"""Where prompts come from before anything is chosen among them."""

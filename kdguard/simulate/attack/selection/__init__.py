"""Which of many candidate prompts to spend the budget on: pure functions of probabilities or embeddings."""

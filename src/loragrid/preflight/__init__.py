"""What a model, its data and its prompts can do together, looked at before any weights are loaded."""

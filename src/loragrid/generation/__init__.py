"""Ask subjects the prompts of an evaluation, and measure the likelihood of its references."""

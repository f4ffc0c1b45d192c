"""Pages that need no other file and no network: what they look like. What they say comes from whoever shows them."""

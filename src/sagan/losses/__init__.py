"""What the two networks minimise: pure functions of logits and pictures."""

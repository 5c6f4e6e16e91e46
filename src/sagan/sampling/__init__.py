"""From seeds and labels to pictures."""

"""Training: the state, the two steps, the loop and the driver around it."""

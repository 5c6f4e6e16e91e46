"""Self-Attention GANs."""

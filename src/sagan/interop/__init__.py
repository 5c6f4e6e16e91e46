"""Checkpoints of other SAGAN implementations, in and out."""

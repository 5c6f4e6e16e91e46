"""The run folder and the checkpoint file."""

"""A model carried elsewhere: ONNX, torch.export, and the proof that it draws the same."""

FORMATS = (".safetensors", ".onnx", ".pt2")
"""How the name of an exported file ends."""

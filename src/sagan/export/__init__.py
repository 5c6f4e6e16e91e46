"""A model carried elsewhere: ONNX, torch.export, and the proof that it draws the same."""

"""What is done to live PyTorch modules: calling, training, fusing, tracing, comparing."""

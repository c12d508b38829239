"""torch.export programs: made, loaded, quantized, compiled, and read back."""

"""PyTorch: modules and TorchScript files, how they are kept, called and exported."""

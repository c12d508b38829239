"""What onnxruntime's profiler tells: how long each node takes, and which layer of the original it computes."""

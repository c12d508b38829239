"""onnxruntime: ONNX files, their graphs, and sessions that run them."""

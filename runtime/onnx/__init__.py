"""What is done to ONNX files: reading, writing the same bytes every time, quantizing."""

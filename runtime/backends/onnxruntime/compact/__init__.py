"""Take out of a quantized ONNX file what says nothing, so that its weights are what it is made of."""

"""An ONNX graph node by node: its inputs, the shapes inside it, its FLOPs."""

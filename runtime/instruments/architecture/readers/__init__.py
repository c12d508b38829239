"""How an architecture is read: from an ONNX graph, a torch module that is called, a program or a script."""

"""Find out what a model and its data are, in a child process of the compiler.

The request is what `titrant.compiler.inspect.request` gives:
{"seed": int, "steps": {"data.load": params, "data.split": params, "data.transform": params,
"model.load" or "model.load_onnx": params}}, each params the JSON of that operator's parameter model.
"""

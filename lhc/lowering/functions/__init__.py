"""ONNX functions that do what tiles do, written with onnxscript."""

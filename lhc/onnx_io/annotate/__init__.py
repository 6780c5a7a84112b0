"""Plans as ONNX metadata and back, and in the forms of other tools."""

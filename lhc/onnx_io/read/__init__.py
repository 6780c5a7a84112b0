"""ONNX files to models and layer graphs."""

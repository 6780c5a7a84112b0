"""The digital side of a machine: products in its number formats, computed by onnxruntime."""

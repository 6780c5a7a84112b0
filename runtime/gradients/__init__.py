"""Gradients: an ONNX network as differentiable torch functions, and first-order effects of noise on its answers."""

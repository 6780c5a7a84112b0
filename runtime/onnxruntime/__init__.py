"""onnxruntime: sessions, calls in batches, recorded activations, and whose fault a failure is."""

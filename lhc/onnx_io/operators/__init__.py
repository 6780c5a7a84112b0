"""ONNX operators: which multiply by weights, by which matrix, and how many MACs they take."""

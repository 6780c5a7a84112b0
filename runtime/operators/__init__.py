"""Analog operators: Conv, Gemm and MatMul as matrix-vector products on tiles, with the rest of the operator digital."""

"""SIMD vectors, pointers and the counter-based generator for functions that numba compiles."""

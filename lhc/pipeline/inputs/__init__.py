"""Inputs of the pipeline: model, samples, machine and objective, read and checked."""

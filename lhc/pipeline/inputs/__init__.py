"""What the pipeline starts from: model, samples, machine and objective, read and checked."""

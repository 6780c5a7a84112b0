"""The description of a machine: pydantic sections, overrides for single layers, costs, presets."""

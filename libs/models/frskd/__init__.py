"""FRSKD: feature refinement via self-knowledge distillation (method 4). Imports no torch."""

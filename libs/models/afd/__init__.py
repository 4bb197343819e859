"""AFD: attention-based feature distillation (method 5). Imports no torch."""

"""Image classifiers by name. `names` imports no torch; `build` makes the modules."""

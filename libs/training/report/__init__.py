"""Reports of training and evaluation, for people and programs. Imports no torch."""

"""Several trainings set side by side, whatever they train: figures over seeds, differences, what a report shows."""

"""Initial weights of our own networks."""

from torch import nn


def initialise(network: nn.Module) -> None:
    """Kaiming-normal convolutions (fan out, ReLU), unit batch norms, zero linear biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

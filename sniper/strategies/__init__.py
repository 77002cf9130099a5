"""Strategies that move masks during training, and what else decides which weights are pruned."""

from sniper.strategies.growth import SET, DropAndGrow, RigL, Strategy, View

__all__ = ["SET", "DropAndGrow", "RigL", "Strategy", "View"]

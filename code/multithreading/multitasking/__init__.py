"""Part two: how multitasking is accomplished."""

"""The instruments that show threads at work."""

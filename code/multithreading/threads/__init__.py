"""Part one: threads or thread-like abilities."""

"""The built-in journey models and their reader."""

"""Measurements on real Kafka and Redis; each runs by itself: `python -m loadtests.hot_path`."""

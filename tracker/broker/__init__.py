"""Kafka and the embedded broker."""

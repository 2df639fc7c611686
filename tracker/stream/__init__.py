"""The partition processor and its two stages, ingest and track."""

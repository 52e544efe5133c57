"""Features and responses to scores, predictions and variance partitions."""

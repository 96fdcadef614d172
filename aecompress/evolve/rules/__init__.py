"""How a generation's individuals come from the last one's: one file for each way."""

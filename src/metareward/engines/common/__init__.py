"""What every engine's texts depend on: the interface, chat encoding, batches, number formats, the journal."""

"""Units of work: a few episodes of one arm, played by any process and committed by the driver."""

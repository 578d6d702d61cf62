"""Auto-tuning: a search for each layer's best tile, whose every trial is proved right, timed and written down."""

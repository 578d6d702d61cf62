"""Auto-tuning: a search for each layer's best tile, whose every trial is proved right, timed and written down."""

XGB, METASCHEDULE, RANDOM = SEARCHERS = ("xgb", "metaschedule", "random")  # what may propose tiles
TUNE_TASKS = "tune_tasks"  # MetaSchedule's own driver, to compare with

"""Auto-tuning: a search for each layer's best tile; each trial is verified, timed and logged."""

XGB, METASCHEDULE, RANDOM = SEARCHERS = ("xgb", "metaschedule", "random")  # what may propose tiles
TUNE_TASKS = "tune_tasks"  # MetaSchedule's own driver, to compare with

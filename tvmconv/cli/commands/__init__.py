"""The subcommands, one a module: `run(options, output)` does it and returns the exit code."""

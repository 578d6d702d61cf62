"""Sphinx's configuration: `python -m sphinx -W --keep-going -n docs OUT` builds the pages. No network is needed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import tvmconv

project = "tvmconv"
author = "the authors of tvmconv"
release = version = tvmconv.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "help_pages", "schema_tables"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

# Types in signatures that these pages do not document: other projects', and those that are not public.
nitpick_ignore_regex = [("py:class", r"(?!tvmconv\.).*"), ("py:class", r"tvmconv\.[a-z_.]+\.\w+")]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"tvmconv {release}"
html_show_copyright = False
html_copy_source = False
pygments_style = "default"

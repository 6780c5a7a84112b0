"""Sphinx: ``make docs`` builds the pages. Pages are Markdown (MyST), the reference comes from docstrings."""

import sys
from pathlib import Path

import lhc

project = "lhc"
author = "the lhc authors"
project_copyright = "the lhc authors"
release = version = lhc.__version__

sys.path.insert(0, str(Path(__file__).parent))
extensions = ["myst_parser", "row_anchors", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "lhc"
html_theme_options = {"top_of_page_buttons": []}

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

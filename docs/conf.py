"""How Sphinx makes these pages: Markdown by MyST, furo's theme, nothing from the network."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for `generate`, which is no part of the package

import generate  # noqa: E402

project = "animl-pipeline"
release = version = version_of("animl-pipeline")
project_copyright = "its contributors, MIT licence"
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
nitpicky = True
smartquotes = False
html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sphinx = False
html_static_path = ["style"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"


def write_inline(page: Any, node: nodes.math) -> None:
    """Write a formula as MathML, which every browser draws without a script."""
    page.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def write_block(page: Any, node: nodes.math_block) -> None:
    """Write a formula on a line of its own as MathML."""
    page.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Make the pages that follow from the code before all pages are read."""
    app.add_html_math_renderer("mathml", (write_inline, None), (write_block, None))
    app.connect("builder-inited", lambda _: generate.write_pages(HERE))

"""How a page is made from its template: foreign text escaped, nothing missing in silence."""

import jinja2

from animl_pipeline.report import formatting


def load_template(name: str) -> jinja2.Template:
    """Return a template of the pages; what it is given is escaped, as names are foreign text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("animl_pipeline.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": formatting.format_number,
        "percent": formatting.format_percent,
        "threshold": formatting.format_threshold,
        "between": formatting.format_interval,
        "setting": formatting.format_setting,
        "count": formatting.format_count,
    }
    return environment.get_template(name)

"""Templates → text. The environment is strict: an unknown field is an error, not an empty string."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

from tinyml import resources
from tinyml.emit import filters


def environment() -> jinja2.Environment:
    """Return the Jinja environment over codegen/templates."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.codegen_dir() / "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # C and INI, not HTML; untrusted names pass emit.context.printable
    )
    env.filters.update(
        c_int=filters.c_int,
        c_values=filters.c_values,
        row_index=filters.row_index,
        row_phase=filters.row_phase,
        wrap=filters.wrap,
    )
    return env


def render(template: str, values: Mapping[str, Any]) -> str:
    """Render one template, named by its path below codegen/templates."""
    return environment().get_template(template).render(values)

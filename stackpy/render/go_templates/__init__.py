"""Go's templates (pkg.go.dev/text/template), as docker's --format takes them."""

from stackpy.render.go_templates.templates import Template
from stackpy.render.go_templates.values import Duration, NilList, NilMap, Struct

__all__ = ["Duration", "NilList", "NilMap", "Struct", "Template"]

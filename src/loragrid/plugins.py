"""What the stages offer to a study: sources, cleaning steps, formats, score families. The Snakefile imports it."""

from loragrid.data.digest import digest_of
from loragrid.data.formats import FORMATS
from loragrid.data.sources import SOURCES
from loragrid.data.steps import STEPS
from loragrid.modeling.templates import TEMPLATES
from loragrid.scoring import FAMILIES
from loragrid.study.registry import Registry

REGISTRY = Registry(SOURCES, STEPS, FORMATS, FAMILIES, TEMPLATES, digest_of)

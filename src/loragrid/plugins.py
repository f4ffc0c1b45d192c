"""What the stages offer to a study: sources, cleaning steps, formats, metrics. The Snakefile imports it."""

from loragrid.data.digest import digest_of
from loragrid.data.formats import FORMATS
from loragrid.data.sources import SOURCES
from loragrid.data.steps import STEPS
from loragrid.metrics import GROUPS, METRICS
from loragrid.modeling.templates import TEMPLATES
from loragrid.study.registry import Registry

REGISTRY = Registry(SOURCES, STEPS, FORMATS, METRICS, GROUPS, TEMPLATES, digest_of)

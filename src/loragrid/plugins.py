"""What the stages offer to a study: dataset sources and score families. Light to import: the Snakefile does."""

from loragrid.data.digest import digest_of
from loragrid.data.sources import SOURCES
from loragrid.scoring import FAMILIES
from loragrid.study.registry import Registry

REGISTRY = Registry(SOURCES, FAMILIES, digest_of)

"""Crate: an experiment becomes a folder that archives such as Zenodo take, and people can cite.

It is an RO-Crate (https://www.researchobject.org/ro-crate/): data, and a description of them that
programs read too.
"""

from farm_merge.crate.about import About, Author, read_about
from farm_merge.crate.publish import Published, publish_database

__all__ = ["About", "Author", "Published", "publish_database", "read_about"]

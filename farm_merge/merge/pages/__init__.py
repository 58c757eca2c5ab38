"""SQLite's file format, as far as b-trees of one file become part of those of another.

Section numbers, here and in the modules, are those of https://www.sqlite.org/fileformat2.html.

A database is a row of pages of one size, numbered from 1 in the file and from 0 in this package;
its first 100 bytes are a header (section 1.3). A page belongs to one of these:

- a b-tree (section 1.6). Every index is one, and so is every table WITHOUT ROWID (section 2.4): its
  rows are cells, in the order of their keys, on leaves and on the interior pages above them;
- an overflow chain (section 1.6.1): what does not fit into the page of its cell;
- the freelist (section 1.5): trunk pages, each with a list of pages that nobody uses;
- the b-tree of `sqlite_schema`, a table with rowids, whose root is the first page (section 2.6).

All tables here are WITHOUT ROWID, and every key leads with `simulation_id`. So the trees of two
shards do not interleave: all of one comes before all of the other. The leaves of such trees hold
whole rows, and no page numbers but those of overflow chains, so they are copied as they are. What
is made anew is little, and five steps do it:

1. `header`: may pages of this file be part of another?
2. `trees` and `chains`: which pages are leaves, which are in overflow chains? Every page of the
   file has to be accounted for, since a chain that is not seen would be lost.
3. `dissect`: the last leaf of every tree gives up its last cell, so that a cell follows each leaf.
4. `transplant`: the leaves and the chains get new numbers, and are written into the output.
5. `join`: the trees of all shards become one, from left to right. The cells that follow the leaves
   become its interior cells; leaves that are not full are packed together; interior pages are made
   above them; the header gets the new number of pages.

`cells` knows how a page holds its cells, and serves all of them. Steps 2 to 4 are done by many
processes at once, one shard each; the fifth by one.

Whatever a file claims is checked before it is used: a `ValueError` names what is wrong, and means
that the file's pages cannot be copied. Whether its rows can be read is for SQLite to decide. The
order of the keys is not checked here, but by SQLite, when the output is whole.
"""

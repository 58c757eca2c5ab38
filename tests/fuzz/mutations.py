"""Changes of a database file that an accident or an attacker could make, by its structure.

A mutation takes a `Raw` and a source of random numbers. What SQLite makes of the result, SQLite
says: some are refused, some mean the same, some mean something else.
"""

from __future__ import annotations

from tests.merge.pages.raw import INTERIOR, LEAF, TABLE_LEAF

TABLE_INTERIOR = 5
_PARENTS = {INTERIOR, TABLE_INTERIOR}
_TREES = {LEAF, TABLE_LEAF, *_PARENTS}


def pages(raw, *kinds):
    """Return the pages of some kinds; page 1 has a header in front, and is left alone."""
    count = len(raw.data) // raw.page_size
    return [page for page in range(2, count + 1) if raw.kind(page) in (kinds or _TREES)]


def page_of(raw, random, *kinds):
    found = pages(raw, *kinds)
    return random.choice(found) if found else None


def pointers(raw, page):
    """Return where the pointers of a page are, as far as they are on it."""
    first = raw.at(page) + (12 if raw.kind(page) in _PARENTS else 8)
    count = min(raw.number(raw.at(page) + 3, 2), (raw.page_size - 12) // 2)
    return [first + 2 * number for number in range(count)]


def cell_of(raw, random, *kinds):
    """Return where the payload of a cell starts, behind the number of its child."""
    page = page_of(raw, random, *kinds)
    if page is None or not (found := pointers(raw, page)):
        return None
    start = raw.at(page) + raw.number(random.choice(found), 2) % raw.page_size
    start += 4 if raw.kind(page) in _PARENTS else 0
    return start if start + 20 < len(raw.data) else None


def flip_bit(raw, random):
    raw.data[random.randrange(len(raw.data))] ^= 1 << random.randrange(8)


def change_bytes(raw, random):
    at = random.randrange(len(raw.data) - 16)
    raw.data[at : at + 16] = random.randbytes(16)


def swap_pointers(raw, random):
    page = page_of(raw, random)
    if page and len(found := pointers(raw, page)) > 1:
        one, other = random.sample(found, 2)
        first, second = raw.number(one, 2), raw.number(other, 2)
        raw.put(one, second, 2)
        raw.put(other, first, 2)


def repeat_pointer(raw, random):
    page = page_of(raw, random)
    if page and len(found := pointers(raw, page)) > 1:
        one, other = random.sample(found, 2)
        raw.put(one, raw.number(other, 2), 2)


def move_pointer(raw, random):
    page = page_of(raw, random)
    if page and (found := pointers(raw, page)):
        raw.put(random.choice(found), random.randrange(raw.page_size + 10) % 65536, 2)


def change_count(raw, random):
    page = page_of(raw, random)
    if page:
        at = raw.at(page) + 3
        raw.put(at, max(0, raw.number(at, 2) + random.choice([-3, -1, 1, 2, 5000])) % 65536, 2)


def change_kind(raw, random):
    page = page_of(raw, random)
    if page:
        raw.data[raw.at(page)] = random.choice([0, 2, 5, 10, 13, 7])


def change_page_header(raw, random):
    page = page_of(raw, random)
    if page:
        raw.data[raw.at(page) + random.randrange(1, 8)] = random.randrange(256)


def change_child(raw, random):
    page = page_of(raw, random, *_PARENTS)
    if page:
        at = random.choice([raw.at(page) + 8, *(raw.at(page) + raw.number(it, 2) % raw.page_size
                                                for it in pointers(raw, page))])  # fmt: skip
        if at + 4 < len(raw.data):
            last = len(raw.data) // raw.page_size
            raw.put(at, random.choice([0, 1, page, random.randint(2, last + 1), 1 << 31]))


def swap_children(raw, random):
    page = page_of(raw, random, *_PARENTS)
    if page and (found := pointers(raw, page)):
        one = raw.at(page) + raw.number(random.choice(found), 2) % raw.page_size
        other = raw.at(page) + 8
        if one + 4 < len(raw.data):
            first, second = raw.number(one), raw.number(other)
            raw.put(one, second)
            raw.put(other, first)


def copy_page(raw, random):
    one, other = page_of(raw, random), page_of(raw, random)
    if one and other:
        size = raw.page_size
        raw.data[raw.at(one) : raw.at(one) + size] = raw.data[raw.at(other) : raw.at(other) + size]


def swap_pages(raw, random):
    one, other = page_of(raw, random), page_of(raw, random)
    if one and other:
        size, here, there = raw.page_size, raw.at(one), raw.at(other)
        first, second = raw.data[here : here + size], raw.data[there : there + size]
        raw.data[here : here + size], raw.data[there : there + size] = second, first


def clear_page(raw, random):
    page = page_of(raw, random)
    if page:
        raw.data[raw.at(page) : raw.at(page) + raw.page_size] = bytes(raw.page_size)


def change_payload_size(raw, random):
    cell = cell_of(raw, random)
    if cell is not None:
        raw.data[cell] = random.choice([0, 1, 0x7F, 0x80, 0xFF, raw.data[cell] ^ 1])


def change_record_header(raw, random):
    cell = cell_of(raw, random)
    if cell is not None:
        raw.data[cell + random.randrange(1, 8)] = random.choice(
            [0, 1, 7, 8, 9, 10, 11, 12, 13, 0x7F, 0x80, 0xFF]
        )


def change_value(raw, random):
    cell = cell_of(raw, random)
    if cell is not None:
        at = cell + random.randrange(4, 20)
        raw.data[at] = random.choice([raw.data[at] ^ 1, random.randrange(256)])


def change_text(raw, random):
    """A letter of an id or of the schema becomes another."""
    places = [at for at in (random.randrange(len(raw.data)) for _ in range(200))
              if 97 <= raw.data[at] <= 122]  # fmt: skip
    if places:
        raw.data[random.choice(places)] = random.randrange(97, 123)


def change_schema(raw, random):
    at = random.randrange(100, min(raw.page_size, len(raw.data)))
    raw.data[at] = random.choice([raw.data[at] ^ 1, random.randrange(32, 127)])


def change_header(raw, random):
    at = random.choice([16, 18, 19, 20, 21, 22, 23, *range(24, 72), 92, 95, 96])
    raw.data[at] = random.choice([0, 1, 2, 4, 0x10, 0xFF, random.randrange(256)])


def change_freelist(raw, random):
    trunk = raw.number(32)
    last = len(raw.data) // raw.page_size
    is_there = 2 <= trunk <= last
    at = raw.at(trunk) + 4 * random.randrange(4) if is_there else random.choice([32, 36])
    raw.put(at, random.choice([0, 1, 2, random.randint(1, last + 2), 1 << 30]))


def change_overflow(raw, random):
    """A page of no tree, as those of overflow chains, points elsewhere."""
    last = len(raw.data) // raw.page_size
    others = [page for page in range(2, last + 1) if raw.kind(page) not in _TREES]
    if others:
        raw.put(raw.at(random.choice(others)), random.choice([0, 1, random.randint(2, last)]))


def cut(raw, random):
    del raw.data[random.randrange(512, len(raw.data)) :]


def grow(raw, random):
    raw.data += random.choice([b"x", bytes(raw.page_size), random.randbytes(raw.page_size)])


MUTATIONS = (
    flip_bit, change_bytes, swap_pointers, repeat_pointer, move_pointer, change_count, change_kind,
    change_page_header, change_child, swap_children, copy_page, swap_pages, clear_page,
    change_payload_size, change_record_header, change_value, change_text, change_schema,
    change_header, change_freelist, change_overflow, cut, grow,
)  # fmt: skip


def mutate(raw, random):
    """Change a database in one to three ways; return which."""
    chosen = [random.choice(MUTATIONS) for _ in range(random.choice([1, 1, 1, 2, 3]))]
    for mutation in chosen:
        if len(raw.data) < 1024:
            break
        mutation(raw, random)
    return [mutation.__name__ for mutation in chosen]

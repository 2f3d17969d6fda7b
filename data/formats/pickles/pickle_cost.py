"""What unpickling a file would take, told from its instructions alone: a byte can ask for a set, and five for a table of gigabytes.

The walk steps over small instructions by one regular expression, which stays in C, and over large texts and arrays by their length.
"""

from __future__ import annotations

import re
from mmap import mmap


def _small() -> re.Pattern[bytes]:
    """A run of instructions that are bounded by their own length, and of which the costly ones are counted."""
    plain = rb"[()\]}.0-2QRabdelostuN\x81\x85-\x89\x8f-\x94\x97\x98]++"
    fixed = rb"[Khq\x80\x82].|[M\x83].{2}|[Jj\x84].{4}|[G\x95].{8}|r.{3}\x00"
    lines = rb"[FILSVgP][^\n]*\n|p\d{1,7}\n|[ci][^\n]*\n[^\n]*\n"
    counted = b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in range(256))
    return re.compile(b"(?:%s|%s|[UC\\x8a\\x8c](?:%s)|%s)*+" % (plain, fixed, counted, lines), re.DOTALL)


SMALL = _small()
UNBOUNDED = re.compile(rb"r.{4}|p\d+\n", re.DOTALL)  # a place in the table of objects, which is made as long as that; small ones are SMALL
LENGTHS = {**dict.fromkeys(b"TBX\x8b", 4), **dict.fromkeys(b"\x8d\x8e\x96", 8)}  # bytes of the length that follows an instruction
# What an instruction may make, in bytes, where that is much for its own length; the bytes of numbers and texts in between count as well.
PRICES = ((b"]}ldt\x85\x86\x87", 72), (b"\x8f\x90\x91", 240), (b"R\x81\x92oib", 512))
OTHERS = {price: bytes(sorted(set(range(256)) - set(codes))) for codes, price in PRICES}
STEP = 1 << 20


def cost(content: bytes | mmap) -> int:
    """Bytes that the objects of a pickle may take, beside its own. Raises ValueError for an instruction that asks for room at once."""
    total, place, size = 0, 0, len(content)
    while place < size:
        found = SMALL.match(content, place)
        assert found is not None
        total += _priced(content, place, found.end())
        place = found.end()
        if place >= size:
            break
        code = content[place]
        if code in LENGTHS:
            width = LENGTHS[code]
            length = int.from_bytes(content[place + 1 : place + 1 + width], "little")
            if length > size - place:
                raise ValueError(f"{length} bytes are to follow, and {size - place} are left")
            place += 1 + width + length
        elif UNBOUNDED.match(content, place):
            raise ValueError("it numbers its objects beyond any that it could hold")
        else:
            break  # no instruction: the unpickler says so
    return total


def _priced(content: bytes | mmap, first: int, last: int) -> int:
    total = 0
    for start in range(first, last, STEP):
        part = content[start : min(start + STEP, last)]
        total += sum(price * len(part.translate(None, others)) for price, others in OTHERS.items())
    return total

"""Names of columns that every SQL engine takes without quotes: `[a-z][a-z0-9_]{0,59}`, unique, and
independent of the order of fields.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

MAX_NAME_LENGTH = 60
SUFFIX_DIGITS = 6
_HASH_DIGITS = 16
_FORM = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_NAME_LENGTH - 1}}}")

# What ANSI SQL, DuckDB, Spark, Snowflake, BigQuery, SQL Server or Power Query reserves.
_SQL_WORDS = """
all alter analyse analyze and anti any array as asc asof assert asymmetric at authorization
backup begin between both break browse bulk by cascade case cast check checkpoint close
clustered coalesce collate column commit compute connect connection constraint contains continue
convert create cross cube current current_catalog current_date current_role current_time
current_timestamp current_user cursor database dbcc deallocate declare default deferrable define
delete deny desc describe disk distinct distributed do double drop dump each else end enum
errlvl error escape except exclude exec execute exists exit external extract false fetch file
fillfactor following for foreign freetext from full function grant group grouping groups having
holdlock identity if ignore ilike in increment index initially inner insert intersect interval
into is isnull issue join key kill lambda lateral leading left let like limit lineno load
localtime localtimestamp lookup merge minus national natural nocheck nonclustered not notnull
null nullif of off offset offsets on only open option or order otherwise outer over overlaps
partition percent pivot pivot_longer pivot_wider placing plan preceding precision primary print
proc procedure proto public qualify raiserror range read readtext reconfigure recursive
references regexp replication respect restore restrict return returning revert revoke right
rlike rollback rollup row rowcount rowguidcol rows rule save schema select semi session_user set
sets setuser shared show shutdown some statistics struct summarize symmetric system_user table
tablesample textsize then to top trailing tran transaction treat trigger true truncate try
try_cast try_convert tsequal unbounded union unique unknown unnest unpivot update updatetext use
user using values variadic varying verbose view waitfor when whenever where while window with
within without writetext
"""
RESERVED = frozenset(_SQL_WORDS.split())
STANDARD_NAMES: Mapping[str, str] = MappingProxyType(
    {"sum": "line_sum", "primary": "is_primary", "end": "visit_end"}
)
"""Snake names of standard columns whose own name SQL reserves or gives to a function."""
# Latin letters that do not decompose into an ASCII letter and marks.
_LATIN = str.maketrans(
    {
        "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ð": "d", "đ": "d", "þ": "th", "ł": "l",
        "ħ": "h", "ı": "i", "ŋ": "n", "ŧ": "t", "ĸ": "k", "ſ": "s", "ə": "e",
    }
)  # fmt: skip


def snake(labels: Sequence[tuple[str, str]], *, reserved: Collection[str] = ()) -> dict[str, str]:
    """Name columns in snake case.

    Letters lose their accents, everything else becomes `_`. A name that several labels share, that
    is empty, cut, reserved, or lost letters of another alphabet takes `_` and the first six digits
    of its hash, more until names are unique. All labels are named together, so that their order
    does not matter.

    Parameters
    ----------
    labels
        Pairs of a label and a hash; hashes are unique.
    reserved
        Names that no label may take, besides words that SQL reserves: the other columns of the
        table.

    Returns
    -------
    dict
        Hash to name, in the order of `labels`.
    """
    codes = [code for _, code in labels]
    if len(set(codes)) != len(codes):
        raise ValueError("hashes of columns must be unique")
    taken = RESERVED.union(reserved)
    bases: dict[str, str] = {}
    levels: dict[str, int] = {}
    for label, code in labels:
        base, is_exact = _ascii(label)
        bases[code] = base
        levels[code] = int(not is_exact or len(base) > MAX_NAME_LENGTH)
    while True:
        names = {code: _suffixed(bases[code], code, levels[code]) for code in codes}
        counts = Counter(names.values())
        concerned = [code for code, name in names.items() if counts[name] > 1 or name in taken]
        if not concerned:
            return names
        for code in concerned:
            levels[code] += 1


def is_snake(name: str) -> bool:
    """Whether every SQL engine takes a name without quotes."""
    return _FORM.fullmatch(name) is not None and name not in RESERVED


def _ascii(label: str) -> tuple[str, bool]:
    """Return a label in snake case, of any length, and whether it keeps all its letters."""
    text = unicodedata.normalize("NFKD", label.casefold().translate(_LATIN)).translate(_LATIN)
    marked = "".join(sign for sign in text if not unicodedata.combining(sign))
    is_exact = all(sign.isascii() or not sign.isalnum() for sign in marked)
    name = re.sub(r"[^a-z0-9]+", "_", marked.lower()).strip("_")
    if not name:
        return "field", False
    return (name if name[0].isalpha() else f"n_{name}"), is_exact


def _suffixed(base: str, code: str, level: int) -> str:
    """Return a name with the digits of its level: none at 0, six at 1, then two more each time."""
    if level == 0:
        return base
    # Codes with the same first digits (parts of one field) differ in the digits of a digest.
    own = re.sub(r"[^0-9a-z]", "", code.lower())[:_HASH_DIGITS]
    digits = own + hashlib.sha256(code.encode(errors="surrogatepass")).hexdigest()
    end = f"_{digits[: min(SUFFIX_DIGITS + 2 * (level - 1), MAX_NAME_LENGTH - 2)]}"
    return base[: MAX_NAME_LENGTH - len(end)].rstrip("_") + end


__all__ = [
    "MAX_NAME_LENGTH",
    "RESERVED",
    "STANDARD_NAMES",
    "SUFFIX_DIGITS",
    "is_snake",
    "snake",
]

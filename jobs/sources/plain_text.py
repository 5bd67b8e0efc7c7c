"""Texts as people read them: without HTML, entities resolved, blanks collapsed.

- Tags are taken out only where they are HTML's own, with attributes that have values: `a <b and c>`
  stays as it is. Scripts, styles and comments go with what they hold.
- Entities are resolved by name and by number. Exports often escape HTML itself, so tags are taken
  out once more afterwards.

Trade-off: Spark expressions instead of a parser of HTML, so that no row passes through Python; a
tag that is cut off in the middle stays.
"""

from functools import cache
from html.entities import name2codepoint

from pyspark.sql import Column
from pyspark.sql import functions as fn

_TAGS = (
    "a|abbr|address|article|aside|b|blockquote|body|br|button|caption|center|cite|code|col|colgroup"
    "|dd|del|details|dfn|div|dl|dt|em|figcaption|figure|font|footer|form|h1|h2|h3|h4|h5|h6|head"
    "|header|hr|html|i|iframe|img|input|ins|kbd|label|li|link|main|mark|meta|nav|noscript|ol|option"
    "|p|path|picture|pre|q|s|samp|section|select|small|source|span|strike|strong|sub|summary|sup"
    "|svg|table|tbody|td|textarea|tfoot|th|thead|title|tr|tt|u|ul|var|video|wbr"
)
_INLINE_TAGS = "a|abbr|b|em|font|i|mark|small|span|strong|sub|sup|u"
_ATTRIBUTES = r"(?:\s[^<>]*=[^<>]*)?"
_BLOCK = r"(?is)<(script|style|head)\b[^>]*>.*?</\1\s*>|<!--.*?-->|<!doctype[^>]*>"
# a tag stands for a blank, as in "one<br>two", unless it is one within a word
_TAG = rf"(?is)</?(?:{_TAGS}){_ATTRIBUTES}\s*/?\s*>"
_INLINE = rf"(?is)</?(?:{_INLINE_TAGS}){_ATTRIBUTES}\s*/?\s*>"
_ENTITY = r"&#?[A-Za-z0-9]{2,31};"
_BLANKS = r"[\s\u0085\u00a0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff]+"
_GREATEST = 0x10FFFF


def plain(text: Column) -> Column:
    """Return the text of `text`; null stays null."""
    found = _without_tags(text)
    resolved = fn.when(found.rlike(_ENTITY), _without_tags(_resolved(found))).otherwise(found)
    return fn.trim(fn.regexp_replace(resolved, _BLANKS, " "))


def _without_tags(text: Column) -> Column:
    rest = fn.regexp_replace(text, _BLOCK, " ")
    rest = fn.regexp_replace(fn.regexp_replace(rest, _INLINE, ""), _TAG, " ")
    return fn.when(text.contains("<"), rest).otherwise(text)


def _resolved(text: Column) -> Column:
    """Return the text with its entities resolved; an unknown one stays as it is."""
    pieces = fn.split(text, rf"(?={_ENTITY})|(?<=;)")
    return fn.array_join(fn.transform(pieces, _character), "")


def _character(piece: Column) -> Column:
    number = fn.regexp_extract(piece, r"^&#([0-9]{1,7});$", 1).try_cast("int")
    hexadecimal = fn.regexp_extract(piece, r"^&#[xX]([0-9a-fA-F]{1,6});$", 1)
    number = fn.coalesce(number, fn.conv(fn.nullif(hexadecimal, fn.lit("")), 16, 10).cast("int"))
    valid = number.between(1, _GREATEST) & ~number.between(0xD800, 0xDFFF)
    code = fn.lpad(fn.hex(fn.when(valid, number)), 8, "0")
    by_number = fn.decode(fn.unhex(code), "UTF-32")
    by_name = fn.element_at(_names(), fn.regexp_extract(piece, r"^&([A-Za-z0-9]+);$", 1))
    return fn.when(piece.startswith("&"), fn.coalesce(by_number, by_name, piece)).otherwise(piece)


@cache
def _names() -> Column:
    pairs = {**{name: chr(code) for name, code in name2codepoint.items()}, "apos": "'"}
    return fn.create_map(*(fn.lit(one) for pair in pairs.items() for one in pair))

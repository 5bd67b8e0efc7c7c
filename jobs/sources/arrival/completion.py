"""Items and users of a source beside those that are known: what the source doesn't say stays."""

from dataclasses import replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from jobs.sources.fields import blank
from jobs.sources.validation import GONE, KEPT, REASON, ROW, WORDLESS, CheckedTable, reject
from jobs.warehouse.tables import ITEMS, TABLES


def completed(table: CheckedTable, there: DataFrame | None, partial: bool = False) -> CheckedTable:
    """Return items or users that keep what the source says nothing about.

    `there` is the table as it stands, None where it has not been made. A column that the source
    lacks stays as it was. A row that says but whether an item is on sale keeps all its words; such
    a row of an unknown item is rejected. Where the source is `partial`, `available` stays too,
    unless it has a column of that name, and so do attributes and the text beside those it has.
    """
    columns = TABLES[table.name].column_names
    (key,) = TABLES[table.name].key
    kept = [name for name in columns if name in (*KEPT, "available")]
    if there is None:
        there = table.frame.select(*columns).limit(0)
    before = [fn.col(name).alias(f"_old_{name}") for name in kept]
    joined = table.frame.join(there.select(key, *before, fn.lit(True).alias("_known")), key, "left")
    good, known = fn.col(REASON).isNull(), fn.coalesce("_known", fn.lit(False))
    wordless = fn.lit(False)
    if table.name == ITEMS:
        wordless = good & blank(fn.col("title")) & blank(fn.col("text"))
    values = {name: fn.col(name) for name in (*columns, GONE, REASON, ROW)}
    for name in kept:
        stays = (wordless | fn.lit(name in table.silent)) & _says_nothing(name)
        if partial:
            stays |= fn.lit(name in table.absent and name != "attributes")
        old = fn.when(good & known & stays, fn.col(f"_old_{name}"))
        values[name] = fn.coalesce(old, fn.col(name)).alias(name)
    if partial:
        values["attributes"] = fn.when(good & known, _both("_old_attributes", "attributes"))
        values["attributes"] = fn.coalesce(values["attributes"], fn.col("attributes"))
    values["_lost"] = wordless & ~known
    filled = joined.select(*(value.alias(name) for name, value in values.items()))
    judged = reject(table.name, filled, fn.col("_lost"), WORDLESS)
    return replace(table, frame=judged)


def _both(old: str, new: str) -> Column:
    """Return the map `old` with the entries of `new` in place of its own."""
    others = fn.map_filter(old, lambda key, _: ~fn.map_contains_key(fn.col(new), key))
    return fn.map_concat(others, fn.col(new))


def _says_nothing(name: str) -> Column:
    if name == "available":  # a flag of its own says it
        return fn.lit(False)
    if name == "features":
        return fn.col(name).isNull()
    return fn.size(name) == 0 if name == "attributes" else blank(fn.col(name))

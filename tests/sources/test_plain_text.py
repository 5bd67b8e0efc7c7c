"""HTML, entities and blanks in texts: what is left is what a person would read."""

import html

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as fn

from jobs.sources.plain_text import plain

TEXTS = {
    "A mug": "A mug",
    "  A \t mug\r\n of oak\u00a0 ": "A mug of oak",
    "<p>A <b>mug</b>.</p><p>Of oak.</p>": "A mug. Of oak.",
    "one<br>two<br/>three<BR />four": "one two three four",
    "<a href=\"x?a=1&amp;b=2\" class='k'>link</a>s": "links",
    "<ul><li>red</li><li>blue</li></ul>": "red blue",
    "<style>p {color: red}</style>Red<script>if (a < b) {}</script>": "Red",
    "<!-- a <b>note</b> -->Rest": "Rest",
    "Tom &amp; Jerry &quot;live&quot; &apos;68": 'Tom & Jerry "live" \'68',
    "Fran&ccedil;ois &euro;5 &#8364;5 &#x20AC;5": "François €5 €5 €5",
    "&#128512;&#x1f600;": "\U0001f600\U0001f600",
    "&lt;p&gt;Escaped &amp;amp; bold&lt;/p&gt;": "Escaped &amp; bold",
    "1 < 2 and a <b and c> d, I <3 it": "1 < 2 and a <b and c> d, I <3 it",
    "&unknown; &#0; &#xD800; AT&T; R&D": "&unknown; &#0; &#xD800; AT&T; R&D",
    "茶&nbsp;杯 <i>大</i>号": "茶 杯 大号",
    "Gr\u00f6\u00dfe: <span>gro\u00df</span>e Tasse": "Gr\u00f6\u00dfe: gro\u00dfe Tasse",
    "": "",
}


def read(spark: SparkSession, texts: list[str | None]) -> list[str | None]:
    frame = spark.createDataFrame(list(enumerate(texts)), "at int, text string")
    rows = frame.select("at", plain(fn.col("text")).alias("text")).collect()
    return [row["text"] for row in sorted(rows, key=lambda row: row["at"])]


def test_texts_are_read_as_people_read_them(spark: SparkSession) -> None:
    found = read(spark, [*TEXTS, None])
    assert dict(zip(TEXTS, found, strict=False)) == TEXTS
    assert found[-1] is None


@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(alphabet="ab &<>;\"'é茶€", max_size=30), min_size=20, max_size=40))
def test_what_was_escaped_comes_back(spark: SparkSession, texts: list[str]) -> None:
    """Any text without tags, escaped as exports do, is itself but for its blanks."""
    plain_ones = [text for text in texts if read_again(text)]
    escaped = [html.escape(text) for text in plain_ones]
    assert read(spark, list(escaped)) == [" ".join(text.split()) for text in plain_ones]


def read_again(text: str) -> bool:
    """Whether the text has no tag of its own, and no entity that would be resolved in turn."""
    return "<" not in text and "&" not in text


@pytest.mark.parametrize("text", ["<p", "<b", "&", "&amp", "<!--"])
def test_what_is_cut_off_stays(spark: SparkSession, text: str) -> None:
    assert read(spark, [text]) == [text]

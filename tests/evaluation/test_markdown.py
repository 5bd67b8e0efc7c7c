"""Cells of a report's table stay cells, whatever the data holds."""

from jobs.reports.markdown import table


def test_a_cell_brings_no_html_and_ends_no_row() -> None:
    text = table(["group", "n"], [["<script>a|b</script>\nrow", "1 < 2 & 3"]])
    assert text.splitlines()[2:] == [
        "| &lt;script&gt;a\\|b&lt;/script&gt; row | 1 &lt; 2 &amp; 3 |"
    ]

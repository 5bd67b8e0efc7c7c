"""The label sheet: what goes out comes back, and nothing in it is a formula."""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given
from hypothesis import strategies as st

from jobs.sources.label_sheet import read_sheet, write_sheet

FORMULA = ("=", "+", "-", "@", "\t", "\r")
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1) | (
    st.text("'=+-@1a", min_size=1, max_size=5)
)


@given(texts, texts, texts)
@example('=HYPERLINK("http://evil","click")', "'=1", "''=1")
@example("'plain", "-1", "@x")
def test_ids_come_back_and_no_cell_is_a_formula(user: str, item: str, title: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.csv"
        row = {"user_id": user, "item_id": item, "title": title, "probability": 0.5}
        write_sheet(path, [row])
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, cells = csv.reader(file)
        assert not any(cell.startswith(FORMULA) for cell in cells)
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file).writerows([header, [*cells[:-1], "5"]])
        [answer] = read_sheet(path)
    assert (answer.pair, answer.value) == ((user, item), "5")

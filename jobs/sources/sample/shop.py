"""The files of a made-up shop as a team might have them, the same at every call.

- 48 items in three languages, with HTML and entities in their descriptions; some are sold out, some
  are new and nobody has had them.
- 90 customers in Berlin and Shanghai, each with a favourite kind of item, who view, put into the
  cart, buy and now and then return. Times have the zone of the customer.
- Columns are called as in a shop, not as in nightrank's tables.
"""

import csv
import io
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone

CUSTOMERS, MONTHS = 90, 4
SOLD_OUT, NEW = 11, 13  # every so many items
_BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
_ZONES = {"Berlin": timezone(timedelta(hours=1)), "Shanghai": timezone(timedelta(hours=8))}
# a kind of item: its name, the forms that it comes in, and what is said of it
_KINDS = (
    ("Tea", ("Green", "Black", "White", "Jasmine", "Mint", "Ginger", "Oolong", "Rooibos"),
     "<p>Loose {0} tea, <b>hand&#8209;picked</b>.</p><p>Two minutes &amp; 80 &deg;C.</p>"),
    ("Lamp", ("Desk", "Floor", "Wall", "Reading", "Bedside", "Garden", "Ceiling", "Paper"),
     "<ul><li>{0} lamp of oak</li><li>warm light, 5&nbsp;W</li></ul>"),
    ("Tasse", ("Gro&szlig;e", "Kleine", "Blaue", "Gr&uuml;ne", "Rote", "Bunte", "Hohe", "Flache"),
     "<p>{0} Tasse aus Steingut,<br>von Hand gedreht &ndash; sp&uuml;lmaschinenfest.</p>"),
    ("Decke", ("Weiche", "Warme", "Leichte", "Karierte", "Graue", "Gelbe", "Gestreifte", "Dicke"),
     "<p>{0} Decke aus Wolle, f&uuml;r lange Abende.</p>"),
    ("茶壶", ("紫砂", "白瓷", "青花", "玻璃", "铸铁", "陶土", "银", "旅行"),
     "<p>{0}茶壶、<i>手工</i>制作、适合泡茶。</p>"),
    ("灯笼", ("红", "竹", "纸", "丝", "节日", "小", "圆", "花园"), "<p>{0}灯笼、传统工艺。</p>"),
)  # fmt: skip


def shop_files() -> dict[str, str]:
    """Return the text of each file of the shop by its name."""
    items = list(_items())
    return {
        "items.csv": _csv(("sku", "name", "description", "kind", "price", "available"), items),
        "users.csv": _csv(("customer_id", "city"), _customers()),
        "interactions.csv": _csv(("customer_id", "sku", "event", "created_at"), _events(items)),
    }


def _items() -> Iterator[tuple[object, ...]]:
    number = 0
    for kind, forms, text in _KINDS:
        for form in forms:
            number += 1
            price = f"{4 + 37 * number % 90}.90"
            name = f"{form} {kind}" if kind.isascii() else f"{form}{kind}"
            available = "false" if number % SOLD_OUT == 0 else "true"
            yield f"S{number:03}", name, text.format(form), kind, price, available


def _customers() -> Iterator[tuple[str, str]]:
    cities = sorted(_ZONES)
    for number in range(CUSTOMERS):
        yield f"C{number:04}", cities[number % len(cities)]


def _events(items: Sequence[Sequence[object]]) -> Iterator[tuple[object, ...]]:
    random_ = random.Random(20260105)  # noqa: S311  (a shop, not a secret)
    skus = [str(item[0]) for place, item in enumerate(items, 1) if place % NEW]
    of_kind = [[sku for sku in skus if (int(sku[1:]) - 1) // 8 == kind] for kind in range(6)]
    for customer, city in _customers():
        favourite = random_.randrange(6)
        wanted = of_kind[favourite] + random_.sample(skus, 4)
        when = _BEGIN + timedelta(hours=random_.randrange(24 * 20))
        for sku in random_.sample(sorted(set(wanted)), min(len(set(wanted)), 9)):
            when += timedelta(minutes=random_.randrange(60, 24 * 60 * 30 * MONTHS // 10))
            local = when.astimezone(_ZONES[city])
            if random_.random() < 0.3:  # the others buy in the app, which tells of no views
                yield customer, sku, "view", local.isoformat()
                yield customer, sku, "add_to_cart", (local + timedelta(minutes=3)).isoformat()
            if random_.random() < 0.85:
                yield customer, sku, "purchase", (local + timedelta(minutes=9)).isoformat()
                if random_.random() < 0.05:
                    yield customer, sku, "return", (local + timedelta(days=6)).isoformat()


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()

"""Columns by name: which field each is, what is said about it, and what is refused."""

import pytest

from jobs.sources.columns import match
from jobs.warehouse.tables import INTERACTIONS, ITEMS, TRIPLES, USERS
from models.errors import InputError

FOUND = [
    (INTERACTIONS, "user_id,item_id,value,ts", "user_id,item_id,value,ts"),
    (INTERACTIONS, "ts,value,item_id,user_id", "user_id,item_id,value,ts"),
    (INTERACTIONS, "USER_ID, Item_Id ,Value,TS", "USER_ID, Item_Id ,Value,TS"),
    (INTERACTIONS, "userId,movieId,rating,timestamp", "userId,movieId,rating,timestamp"),
    (INTERACTIONS, "customer_id,product_id,quantity,created_at", None),
    (INTERACTIONS, "customer,sku,qty,event_time", None),
    (INTERACTIONS, "visitor_id,article,stars,datetime", None),
    (INTERACTIONS, "client_id,asin,score,time", None),
    (INTERACTIONS, "Customer_ID,Product,Rating,Occurred_At", None),
    (INTERACTIONS, "user_id,product_id,ts", "user_id,product_id,-,ts"),
]


@pytest.mark.parametrize(("table", "columns", "expected"), FOUND)
def test_interactions_are_found_by_name(table: str, columns: str, expected: str | None) -> None:
    names = (expected or columns).split(",")
    fields = zip(("user_id", "item_id", "value", "ts"), names, strict=True)
    matched = match(table, "a.csv", columns.split(","))
    assert matched.fields == {field: name for field, name in fields if name != "-"}
    assert matched.others == ()


@pytest.mark.parametrize(
    ("table", "columns", "others"),
    [
        (INTERACTIONS, "user_id,item_id,ts,mood", ("mood",)),
        (INTERACTIONS, "user_id,customer_id,item_id,ts,device", ("device", "customer_id")),
        (INTERACTIONS, "user_id,item_id,sku,ts,created_at", ("sku", "created_at")),
        (ITEMS, "item_id,title,quantity,created_at", ("quantity", "created_at")),
        (ITEMS, "sku,name,price", ("price",)),
        (ITEMS, "item_id,title,name", ("name",)),
        (USERS, "customer,text,country", ("country",)),
    ],
)
def test_a_field_of_its_own_name_comes_before_aliases(
    table: str, columns: str, others: tuple[str, ...]
) -> None:
    assert match(table, "a.csv", columns.split(",")).others == others


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        (INTERACTIONS, "user_id,item_id", "column `ts` is missing; found user_id, item_id"),
        (INTERACTIONS, "u1,a,5,1700000000", "column `user_id` is missing; found u1, a, 5"),
        (INTERACTIONS, "user_id,item_id,rating,value,ts", "`rating` and `value` are both `value`"),
        (INTERACTIONS, "user_id,sku,product_id,ts", "`sku` and `product_id` could both be `item_i"),
        (INTERACTIONS, "user_id,item_id,created_at,event_time", "say which with --column ts=creat"),
        (INTERACTIONS, "user_id,item_id,ts,", "a column has no name"),
        (ITEMS, "item_id,genre", "column `title` or `text` is missing"),
        (ITEMS, "a,Oak", "column `item_id` is missing"),
        (TRIPLES, "head,relation,tail,weight", "unknown column `weight`"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(table: str, columns: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        match(table, "part-1.csv", columns.split(","))
    assert str(error.value).startswith("part-1.csv: ")


def test_a_line_says_what_was_guessed_or_left_out() -> None:
    columns = ["customer_id", "SKU", "TS", "mood", "device"]
    assert match(INTERACTIONS, "a.csv", columns).lines() == [
        "a.csv: column `customer_id` is read as `user_id`",
        "a.csv: column `SKU` is read as `item_id`",
        "a.csv: not read: column `mood`, `device`",
        "a.csv: no column `value`, so each row counts as 1",
    ]
    assert match(ITEMS, "b.csv", ["item_id", "title", "mood"]).lines() == []

"""Pictures that validation left out of a batch still have their row."""

import csv
from pathlib import Path

from libs.client.cli.batch import add_broken

HEADER = "id,path,label,probability,top_k,error\n"


def test_a_broken_picture_gets_a_row_with_its_error(tmp_path: Path):
    table = tmp_path / "p.csv"
    table.write_text(HEADER + "0,a.png,cat,0.9,,\n")
    problems = [
        {"code": "broken-picture", "file": "ü,b.png", "message": "'ü,b.png' is left out: no picture."},
        {"code": "duplicate", "file": "a.png", "message": "twice"},
    ]
    assert add_broken(table, {"broken": 1, "problems": problems}) == 1
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["label"], row["error"]) for row in rows] == [
        ("a.png", "cat", ""),
        ("ü,b.png", "", "'ü,b.png' is left out: no picture."),
    ]


def test_nothing_broken_changes_nothing(tmp_path: Path):
    table = tmp_path / "p.csv"
    table.write_text(HEADER)
    assert add_broken(table, {"broken": 0, "problems": []}) == 0
    assert table.read_text() == HEADER

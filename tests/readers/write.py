"""Writes files with writers that are not ours, and what their rows should be read as.

    write.py FOLDER

Beside each file NAME there is `NAME.rows`: a line of JSON per row, as the README says rows become JSON. It is made from the
values that were written, never by reading the file again.
"""

import base64
import csv
import datetime
import decimal
import gzip
import io
import json
import math
import os
import sys
import uuid

import fastavro
import pyarrow
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
import zstandard

ROWS = 1000
UTC = datetime.timezone.utc


def main(folder):
    os.chdir(folder)
    write_parquet()
    write_avro()
    write_csv()
    write_json()
    write_lines()


def save(name, content, rows):
    with open(name, "wb") as file:
        file.write(content)
    with open(name + ".rows", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def base(value):
    return base64.b64encode(value).decode()


def number(value):
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def moments(n):
    return datetime.datetime(2001 + n % 60, 1 + n % 12, 1 + n % 28, n % 24, n % 60, (n * 7) % 60, (n * 1009) % 1000000)


def column_values(n):
    """The values of a row: Arrow's type, the value, and what it is read as."""
    moment = moments(n)
    aware = moment.replace(tzinfo=UTC)
    millis = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    real = [0.5 * n, float("nan"), float("inf"), float("-inf"), -1e300][n % 5]
    price = decimal.Decimal(n * 7 - 500).scaleb(-2)
    wide = decimal.Decimal(-(10**30) - n).scaleb(-10)
    nanos = int((moment - datetime.datetime(1970, 1, 1)).total_seconds()) * 10**9 + n * 12347 % 10**9
    nanos_text = datetime.datetime.fromtimestamp(nanos // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    time = moment.time()
    return {
        "bool": (pyarrow.bool_(), n % 2 == 0, n % 2 == 0),
        "i8": (pyarrow.int8(), n % 256 - 128, n % 256 - 128),
        "u16": (pyarrow.uint16(), n * 60 % 65536, n * 60 % 65536),
        "i32": (pyarrow.int32(), -n * 1000000, -n * 1000000),
        "u32": (pyarrow.uint32(), 2**32 - 1 - n, 2**32 - 1 - n),
        "i64": (pyarrow.int64(), -(2**63) + n, -(2**63) + n),
        "u64": (pyarrow.uint64(), 2**64 - 1 - n, 2**64 - 1 - n),
        "f32": (pyarrow.float32(), n * 0.25, n * 0.25),
        "f64": (pyarrow.float64(), real, number(real)),
        "text": (pyarrow.string(), f"tëxt {n} \" \\ \u0001", f"tëxt {n} \" \\ \u0001"),
        "same": (pyarrow.string(), f"one of {n % 3}", f"one of {n % 3}"),
        "bytes": (pyarrow.binary(), bytes([n % 256, 0, 255]), base(bytes([n % 256, 0, 255]))),
        "fixed": (pyarrow.binary(4), n.to_bytes(4, "big"), base(n.to_bytes(4, "big"))),
        "price": (pyarrow.decimal128(9, 2), price, f"{price:.2f}"),
        "wide": (pyarrow.decimal128(38, 10), wide, f"{wide:.10f}"),
        "date": (pyarrow.date32(), moment.date(), moment.date().isoformat()),
        "time_ms": (pyarrow.time32("ms"), millis.time(), millis.time().isoformat("milliseconds")),
        "time_us": (pyarrow.time64("us"), time, time.isoformat("microseconds")),
        "at_ms": (pyarrow.timestamp("ms", "UTC"), aware.replace(microsecond=millis.microsecond), millis.isoformat(timespec="milliseconds") + "Z"),
        "at_us": (pyarrow.timestamp("us", "UTC"), aware, moment.isoformat(timespec="microseconds") + "Z"),
        "at_ns": (pyarrow.timestamp("ns", "UTC"), nanos, f"{nanos_text}.{nanos % 10**9:09}Z"),
        "local": (pyarrow.timestamp("us"), moment, moment.isoformat(timespec="microseconds")),
        "list": (pyarrow.list_(pyarrow.int32()), [None, [], [n, None, 2]][n % 3], [None, [], [n, None, 2]][n % 3]),
        "struct": (
            pyarrow.struct([("a", pyarrow.int32()), ("b", pyarrow.list_(pyarrow.string()))]),
            None if n % 4 == 0 else {"a": n, "b": ["x", str(n)]},
            None if n % 4 == 0 else {"a": n, "b": ["x", str(n)]},
        ),
        "map": (
            pyarrow.map_(pyarrow.string(), pyarrow.float64()),
            None if n % 5 == 0 else [("k", 0.5), (str(n), None)],
            None if n % 5 == 0 else {"k": 0.5, str(n): None},
        ),
        "null": (pyarrow.int32(), n if n % 7 == 0 else None, n if n % 7 == 0 else None),
    }


def write_parquet():
    rows = [column_values(n) for n in range(ROWS)]
    arrays = {
        name: pyarrow.array([row[name][1] for row in rows], type=rows[0][name][0]) for name in rows[0]
    }
    table = pyarrow.table(arrays)
    expected = [{name: cell[2] for name, cell in row.items()} for row in rows]
    variants = {
        "none": {"compression": "none", "row_group_size": 300},
        "snappy": {"compression": "snappy", "use_dictionary": False},
        "gzip": {"compression": "gzip", "data_page_version": "2.0"},
        "zstd": {"compression": "zstd", "row_group_size": 100},
        "brotli": {"compression": "brotli", "data_page_size": 512},
        "lz4": {"compression": "lz4", "version": "1.0"},
    }
    for name, options in variants.items():
        if options.get("version") == "1.0":
            # That version has neither nanoseconds nor a type of its own for 32 bits without a sign.
            left = table.drop_columns(["at_ns", "u32"])
            left_expected = [{k: v for k, v in row.items() if k not in ("at_ns", "u32")} for row in expected]
        else:
            left, left_expected = table, expected
        output = io.BytesIO()
        pyarrow.parquet.write_table(left, output, **options)
        save(f"columns-{name}.parquet", output.getvalue(), left_expected)
    save("columns-empty.parquet", empty_parquet(table), [])


def empty_parquet(table):
    output = io.BytesIO()
    pyarrow.parquet.write_table(table.slice(0, 0), output)
    return output.getvalue()


SCHEMA = {
    "type": "record",
    "name": "Row",
    "namespace": "test.readers",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "small", "type": "int"},
        {"name": "flag", "type": "boolean"},
        {"name": "real", "type": "double"},
        {"name": "single", "type": "float"},
        {"name": "text", "type": "string"},
        {"name": "bytes", "type": "bytes"},
        {"name": "fixed", "type": {"type": "fixed", "name": "Four", "size": 4}},
        {"name": "color", "type": {"type": "enum", "name": "Color", "symbols": ["RED", "GREEN"]}},
        {"name": "maybe", "type": ["null", "string", "long"]},
        {"name": "list", "type": {"type": "array", "items": "int"}},
        {"name": "map", "type": {"type": "map", "values": ["null", "double"]}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "date", "type": {"type": "int", "logicalType": "date"}},
        {"name": "time_ms", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "time_us", "type": {"type": "long", "logicalType": "time-micros"}},
        {"name": "at_ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "at_us", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "id_text", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "next", "type": ["null", {"type": "record", "name": "Inner", "fields": [{"name": "n", "type": "int"}]}]},
    ],
}


def avro_row(n):
    moment = moments(n)
    millis = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    price = decimal.Decimal(n * 7 - 500).scaleb(-2)
    name = uuid.UUID(int=n * 2**90 + n)
    real = [0.5 * n, float("nan"), float("inf")][n % 3]
    maybe = [None, f"text {n}", n][n % 3]
    row = {
        "id": -(2**63) + n,
        "small": n,
        "flag": n % 2 == 0,
        "real": real,
        "single": 0.25 * n,
        "text": f"tëxt {n}",
        "bytes": bytes([n % 256, 255]),
        "fixed": n.to_bytes(4, "big"),
        "color": ["RED", "GREEN"][n % 2],
        "maybe": maybe,
        "list": list(range(n % 4)),
        "map": {"a": None, "b": 1.5},
        "price": price,
        "date": moment.date(),
        "time_ms": millis.time(),
        "time_us": moment.time(),
        "at_ms": millis.replace(tzinfo=UTC),
        "at_us": moment.replace(tzinfo=UTC),
        "id_text": name,
        "next": None if n % 2 else {"n": n},
    }
    read = row | {
        "real": number(real),
        "bytes": base(row["bytes"]),
        "fixed": base(row["fixed"]),
        "price": f"{price:.2f}",
        "date": moment.date().isoformat(),
        "time_ms": millis.time().isoformat("milliseconds"),
        "time_us": moment.time().isoformat("microseconds"),
        "at_ms": millis.isoformat(timespec="milliseconds") + "Z",
        "at_us": moment.isoformat(timespec="microseconds") + "Z",
        "id_text": str(name),
    }
    return row, read


def write_avro():
    rows = [avro_row(n) for n in range(ROWS)]
    schema = fastavro.parse_schema(SCHEMA)
    for codec in ["null", "deflate", "snappy", "zstandard"]:
        output = io.BytesIO()
        fastavro.writer(output, schema, [row for row, _ in rows], codec=codec, sync_interval=4000)
        save(f"rows-{codec}.avro", output.getvalue(), [read for _, read in rows])


def write_csv():
    rows = [{"id": str(n), "name": f"näme, {n}", "note": "line\none \"quoted\"" if n % 3 else ""} for n in range(ROWS)]
    for name, encoding, dialect in [("excel", "utf-8", "excel"), ("unix", "utf-8-sig", "unix")]:
        output = io.StringIO(newline="")
        writer = csv.DictWriter(output, ["id", "name", "note"], dialect=dialect)
        writer.writeheader()
        writer.writerows(rows)
        content = output.getvalue().encode(encoding)
        save(f"{name}.csv", content, rows)
        save(f"{name}.csv.gz", gzip.compress(content), rows)
        save(f"{name}.csv.zst", zstandard.ZstdCompressor().compress(content), rows)
    output = io.StringIO(newline="")
    writer = csv.DictWriter(output, ["id", "name", "note"], dialect="excel-tab")
    writer.writeheader()
    writer.writerows(rows)
    save("tabs.tsv", output.getvalue().encode(), rows)
    table = pyarrow.table({name: [row[name] for row in rows] for name in rows[0]})
    output = io.BytesIO()
    pyarrow.csv.write_csv(table, output)
    save("arrow.csv", output.getvalue(), rows)


def write_json():
    rows = [{"id": n, "big": 2**70 + n, "text": f"tëxt {n}\n", "list": [n, None, {"a": []}]} for n in range(ROWS)]
    lines = "".join(json.dumps(row, ensure_ascii=n % 2 == 0) + "\n" for n, row in enumerate(rows)).encode()
    save("rows.jsonl", lines, rows)
    members = b"".join(gzip.compress(lines[at : at + 10000]) for at in range(0, len(lines), 10000))
    save("members.jsonl.gz", members, rows)
    frames = zstandard.ZstdCompressor(level=19, write_checksum=True)
    save("frames.ndjson.zst", b"".join(frames.compress(lines[at : at + 10000]) for at in range(0, len(lines), 10000)), rows)
    stream = zstandard.ZstdCompressor().compressobj()
    save("stream.jsonl.zst", stream.compress(lines) + stream.flush(), rows)
    save("list.json", json.dumps(rows, indent=2).encode(), rows)
    save("list.json.gz", gzip.compress(json.dumps(rows).encode()), rows)


def write_lines():
    lines = [f"line {n} ü" for n in range(ROWS)]
    save("lines.log", "\r\n".join(lines).encode(), lines)
    save("lines.txt.gz", gzip.compress("\n".join(lines).encode() + b"\n"), lines)


main(*sys.argv[1:])

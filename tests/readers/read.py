"""Reads what the destination has written with readers that are not ours.

    read.py records READER FOLDER    each record of the folder's objects, as a line of JSON
    read.py schema FOLDER            each column of a Parquet object as pyarrow sees it, as a line of JSON
    read.py rows FOLDER              each row of objects that are tables, as a line of JSON
    read.py dataset FOLDER           each row of all objects as the one table that folders like `a=b` make, as a line of JSON
    read.py sql FOLDER QUERY         each row of DuckDB's answer, as a line of JSON

A record is printed in a form of its own, that of neither format: bytes are hexadecimal, and a key or payload is null,
{"raw": bytes} or {"structured": parsed JSON}. What is not as the README says ends the script with an error.
"""

import base64
import csv
import glob
import gzip
import io
import json
import os
import sys

import duckdb
import fastavro
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import zstandard

# A row holds these, then the data of the key and of both payloads, each as raw bytes and as structured text.
FIXED = 4


def main(task, *arguments):
    tasks = {"records": records, "schema": schema, "rows": rows, "dataset": dataset, "sql": sql}
    for line in tasks[task](*arguments):
        # What JSON can't say is an error rather than `NaN`.
        print(json.dumps(line, allow_nan=False))


def records(reader, folder):
    os.chdir(folder)
    for row in READERS[reader]():
        name, position, operation, metadata = row[:FIXED]
        data = [one_of(*pair) for pair in zip(row[FIXED::2], row[FIXED + 1 :: 2], strict=True)]
        key, before, after = data
        yield {
            "object": os.path.basename(name),
            "position": position.hex(),
            "operation": operation,
            "metadata": dict(metadata),
            "key": key,
            "before": before,
            "after": after,
        }


def one_of(raw, structured):
    """Data of which one kind is there, or none."""
    if raw is not None and structured is not None:
        raise ValueError("data are both raw and structured")
    if raw is not None:
        return {"raw": raw.hex()}
    if structured is not None:
        return {"structured": json.loads(structured)}
    return None


def group(data):
    """The two columns of a Parquet group, of which one is there if the group is."""
    if data is None:
        return None, None
    if set(data) != {"raw", "structured"} or list(data.values()).count(None) != 1:
        raise ValueError(f"a group has {sorted(data)}, of which one should be there")
    return data["raw"], data["structured"]


def parquet_row(name, position, operation, metadata, key, payload):
    if set(payload) != {"before", "after"}:
        raise ValueError(f"payload has {sorted(payload)}")
    data = [group(key), group(payload["before"]), group(payload["after"])]
    return [name, position, operation, metadata, *(column for pair in data for column in pair)]


def pyarrow_parquet():
    for name in sorted(glob.glob("*.parquet")):
        for row in pyarrow.parquet.read_table(name).to_pylist():
            yield parquet_row(name, **row)


def duckdb_parquet():
    query = """
        select filename, position, operation, metadata, key, payload
        from read_parquet('*.parquet', filename = true)
    """
    for row in connect().execute(query).fetchall():
        yield parquet_row(*row)


def duckdb_json():
    """DuckDB tells the kinds of data apart and decodes them."""
    connection = connect()
    connection.execute("""
        create macro raw(data) as
            case json_type(data) when 'VARCHAR' then from_base64(data ->> '$') end;
        create macro structured(data) as
            case json_type(data) when 'OBJECT' then data::varchar end;
    """)
    query = """
        select filename, from_base64(position), operation, metadata,
            raw(key), structured(key),
            raw(payload.before), structured(payload.before),
            raw(payload.after), structured(payload.after)
        from read_json('*.json', format = 'newline_delimited', filename = true, columns = {
            position: 'varchar',
            operation: 'varchar',
            metadata: 'map(varchar, varchar)',
            key: 'json',
            payload: 'struct("before" json, "after" json)'
        })
    """
    return connection.execute(query).fetchall()


def python_json():
    def data(value):
        if isinstance(value, str):
            return base64.b64decode(value, validate=True), None
        return None, None if value is None else json.dumps(value)

    for name in sorted(glob.glob("*.json")):
        with open(name, "rb") as lines:
            for line in lines:
                record = json.loads(line)
                payload = record["payload"]
                position = base64.b64decode(record["position"], validate=True)
                pairs = [data(record["key"]), data(payload["before"]), data(payload["after"])]
                columns = (column for pair in pairs for column in pair)
                yield [name, position, record["operation"], record["metadata"], *columns]


READERS = {
    "pyarrow-parquet": pyarrow_parquet,
    "duckdb-parquet": duckdb_parquet,
    "duckdb-json": duckdb_json,
    "python-json": python_json,
}


def parquet_rows(name):
    yield from pyarrow.parquet.read_table(name).to_pylist(maps_as_pydicts="strict")


def avro_rows(name):
    with open(name, "rb") as file:
        yield from fastavro.reader(file)


def text_of(name):
    """A text file, decompressed as its name says."""
    if name.endswith(".gz"):
        file = gzip.open(name)
    elif name.endswith(".zst"):
        file = zstandard.ZstdDecompressor().stream_reader(open(name, "rb"), read_across_frames=True)
    else:
        file = open(name, "rb")
    return io.TextIOWrapper(file, encoding="utf-8", newline="")


def csv_rows(name):
    with text_of(name) as file:
        yield from csv.DictReader(file, strict=True)


def json_rows(name):
    with text_of(name) as lines:
        yield from map(json.loads, lines)


TABLES = {".parquet": parquet_rows, ".avro": avro_rows, ".csv": csv_rows, ".json": json_rows}
COMPRESSED = (".gz", ".zst")


def rows(folder):
    os.chdir(folder)
    for name in sorted(glob.glob("*.*")):
        stem = os.path.splitext(name)[0] if name.endswith(COMPRESSED) else name
        for row in TABLES[os.path.splitext(stem)[1]](name):
            yield as_json(row)


def dataset(folder):
    table = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table()
    yield from map(as_json, table.to_pylist())


def as_json(value):
    """A value as JSON: what that has no type for is a text, bytes are hexadecimal."""
    if isinstance(value, dict):
        return {name: as_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def schema(folder):
    os.chdir(folder)
    for name in sorted(glob.glob("*.parquet"))[:1]:
        for field in pyarrow.parquet.read_schema(name):
            kind = field.type
            if pyarrow.types.is_map(kind):
                # Its own words also hold what the group of entries is called, which is nobody's business.
                kind = f"map<{kind.key_type}, {kind.item_type}>"
            yield [field.name, str(kind), field.nullable]


def sql(folder, query):
    os.chdir(folder)
    for row in connect().execute(query).fetchall():
        yield [plain(value) for value in row]


def plain(value):
    """A value as JSON has it."""
    return value.hex() if isinstance(value, bytes) else value


def connect():
    """DuckDB as it comes, which fetches nothing from elsewhere."""
    return duckdb.connect(config={"autoinstall_known_extensions": "false"})


if __name__ == "__main__":
    main(*sys.argv[1:])

// Owns what the component must do in this host: each scenario drives it, and compares what came with what the store holds. It
// runs in a worker thread, since calls of the component block. Leaves the host to `host.mjs`, the store to `run.mjs`.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { bytesOf, instantiate } from "./host.mjs";
import { Bucket } from "./store.mjs";

const { folder, endpoint, access, buckets } = workerData;

/** How long a call may wait for records or acks. */
const WAIT_MS = 200n;

/** Bytes of one read's records. Small, so that it takes several. */
const BYTES_MAX = 1n << 18n;

/** How long a scenario waits for what must come. The machine may be busy. */
const PATIENCE_MS = 60_000;

const settings = (bucket, more = {}) => ({
  "aws.accessKeyId": access.accessKeyId,
  "aws.secretAccessKey": access.secretAccessKey,
  "aws.region": access.region,
  "aws.endpoint": endpoint,
  "aws.bucket": bucket,
  ...more,
});

const sourceSettings = (more) => settings(buckets.source, { pollingPeriod: "50ms", ...more });
const from = new Bucket(endpoint, buckets.source, access);
const to = new Bucket(endpoint, buckets.destination, access);
const text = (data) => data && Buffer.from(data.val).toString();
const counter = (source, name) => Number(new Map(source.progress().counters).get(name));

/** The records of a batch, each with all of its metadata. */
function recordsOf({ records, common }) {
  const whole = ({ common: place, metadata, ...record }) =>
    ({ ...record, metadata: [...new Map([...(place === undefined ? [] : common[place]), ...metadata])] });
  return records.map(whole);
}

/** What is read of a source until it has polled twice more and found nothing, bodies in memory; each batch is acked. */
function readAll(source) {
  const records = [];
  const deadline = Date.now() + PATIENCE_MS;
  for (let polls = counter(source, "polls") + 2; ; ) {
    assert.ok(Date.now() < deadline, `only ${records.length} records came in time`);
    const batch = recordsOf(source.read(100, BYTES_MAX, WAIT_MS));
    for (const record of batch) {
      const after = bytesOf(record.payload.after);
      records.push({ ...record, operation: record.operation, name: text(record.key), after });
    }
    if (batch.length > 0) {
      source.ack(batch.at(-1).position);
    } else if (source.progress().caughtUp && counter(source, "polls") >= polls) {
      return records;
    }
  }
}

/** Acks of `records` in a destination that is open, until all are in. */
function write(destination, records) {
  const acks = destination.write({ records, common: [] });
  const deadline = Date.now() + PATIENCE_MS;
  while (acks.length < records.length) {
    assert.ok(Date.now() < deadline, `only ${acks.length} acks came in time`);
    acks.push(...destination.flush(WAIT_MS));
  }
  const position = ({ position }) => Buffer.from(position).toString();
  assert.deepEqual(acks.map(position), records.map(position), "each record is acked once, in order");
  assert.deepEqual(acks.filter(({ error }) => error), []);
}

const objects = new Map();
const kept = new Map();
let position;

async function snapshot() {
  for (let number = 0; number < 200; number++) {
    objects.set(`small/${String(number).padStart(3, "0")}`, randomBytes(3300));
  }
  objects.set("large", randomBytes(20 << 20));
  objects.set("odd key ü+&?#", Buffer.from("odd"));
  objects.set("empty", Buffer.alloc(0));
  for (const [key, body] of objects) {
    await from.put(key, body);
  }
  const source = (await instantiate(folder, kept)).source(sourceSettings());
  source.open(undefined);
  const records = readAll(source);
  assert.deepEqual(records.map(({ name }) => name), [...objects.keys()].sort(), "the snapshot comes by key, once");
  for (const { name, after, operation } of records) {
    assert.equal(operation, "snapshot");
    assert.ok(after.equals(objects.get(name)), `the bytes of ${name}`);
  }
  return source;
}

async function changes(source) {
  await from.put("new", "1");
  await from.put("small/000", "2");
  await from.delete("empty");
  const seen = readAll(source).map(({ name, operation, after }) => `${operation} ${name} ${after ?? ""}`.trim());
  assert.deepEqual(seen.sort(), ["create new 1", "delete empty", "update small/000 2"]);
  await from.put("last", "3");
  const records = readAll(source);
  assert.deepEqual(records.map(({ name }) => name), ["last"]);
  position = records[0].position;
  source.teardown();
}

async function restartWithState() {
  const source = (await instantiate(folder, kept)).source(sourceSettings());
  source.open(position);
  assert.deepEqual(readAll(source), [], "nothing comes twice");
  await from.put("after-restart", "4");
  const records = readAll(source);
  assert.deepEqual(records.map(({ name }) => name), ["after-restart"]);
  source.teardown();
}

async function restartWithoutState() {
  const host = await instantiate(folder, undefined);
  const source = host.source(sourceSettings());
  source.open(position);
  const names = readAll(source).map(({ name }) => name);
  assert.ok(names.includes("after-restart"), "what came after the position is delivered");
  await from.put("without-state", "5");
  assert.ok(readAll(source).some(({ name }) => name === "without-state"));
  source.teardown();
}

/** What a host is told, in values that it can act on. */
async function refusals() {
  const host = await instantiate(folder, undefined);
  const kind = (call) => {
    try {
      call();
    } catch (error) {
      return (error.payload ?? error).kind;
    }
    return "none";
  };
  assert.equal(kind(() => host.source(sourceSettings({ pollingPeriot: "1s" }))), "invalid");
  assert.equal(kind(() => host.source(settings("no-such-bucket")).open(undefined)), "invalid");
  assert.equal(kind(() => host.source(sourceSettings({ "aws.secretAccessKey": "another" })).open(undefined)), "denied");
  const closed = host.source(sourceSettings());
  closed.open(undefined);
  closed.teardown();
  assert.equal(kind(() => closed.read(1, 1n, 0n)), "closed");
}

const encode = (text) => new TextEncoder().encode(text);

const record = (number) => ({
  position: encode(`p${number}`),
  operation: "create",
  metadata: [["opencdc.collection", "numbers"]],
  key: { tag: "raw", val: encode(`key ${number}`) },
  payload: { before: undefined, after: { tag: "raw", val: encode(`payload ${number}`) } },
});

async function json() {
  const host = await instantiate(folder, undefined);
  const destination = host.destination(settings(buckets.destination, { prefix: "json/", format: "json", bufferSize: "64" }));
  destination.open();
  const records = Array.from({ length: 150 }, (_, number) => record(number));
  write(destination, records);
  destination.teardown();
  const keys = (await to.keys()).filter((key) => key.startsWith("json/"));
  const lines = (await Promise.all(keys.map(to.get))).flatMap((object) => object.toString().trimEnd().split("\n"));
  const stored = lines.map((line) => JSON.parse(line));
  const decoded = (data) => Buffer.from(data, "base64").toString();
  assert.deepEqual(
    stored.map(({ key, payload }) => `${decoded(key)}: ${decoded(payload.after)}`).sort(),
    records.map((_, number) => `key ${number}: payload ${number}`).sort(),
  );
}

/** Bodies go from a source to a destination by handle, within one instance. */
async function parquet() {
  const host = await instantiate(folder, undefined);
  const source = host.source(sourceSettings({ prefix: "large" }));
  source.open(undefined);
  const records = [];
  const deadline = Date.now() + PATIENCE_MS;
  while (records.length === 0 && Date.now() < deadline) {
    records.push(...recordsOf(source.read(10, BYTES_MAX, WAIT_MS)));
  }
  assert.deepEqual(records.map(({ payload }) => payload.after.tag), ["body"]);
  const destination = host.destination(settings(buckets.destination, { prefix: "parquet/", format: "parquet" }));
  destination.open();
  write(destination, records);
  source.ack(records.at(-1).position);
  write(destination, Array.from({ length: 150 }, (_, number) => record(number)));
  destination.teardown();
  source.teardown();
  const keys = (await to.keys()).filter((key) => key.startsWith("parquet/"));
  const files = await Promise.all(keys.map(to.get));
  for (const file of files) {
    assert.equal(file.subarray(0, 4).toString(), "PAR1");
    assert.equal(file.subarray(-4).toString(), "PAR1");
  }
  // Random bytes do not compress: pieces of the payload stand in the file as they are.
  const large = files.find((file) => file.length > 20 << 20);
  assert.ok(large.includes(objects.get("large").subarray((1 << 20) + 1000, (1 << 20) + 2000)), "the body is in the file");
}

async function run(name, scenario) {
  const start = Date.now();
  const result = await scenario();
  parentPort.postMessage(`ok: ${name} (${Date.now() - start} ms)`);
  return result;
}

const source = await run("a snapshot, with a body of 20 MiB", snapshot);
await run("creates, updates and deletes", () => changes(source));
await run("a restart with state", restartWithState);
await run("a restart without state", restartWithoutState);
await run("refusals", refusals);
await run("a destination of JSON", json);
await run("a destination of Parquet, with a body by handle", parquet);
parentPort.postMessage(undefined);

// Owns the run: transpiles the component, starts the store, and runs the scenarios in a worker. Leaves what they do to
// `scenarios.mjs`.
//
//     node run.mjs COMPONENT EMBEDDED_S3

import { spawn } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { Worker } from "node:worker_threads";
import { transpileBytes } from "@bytecodealliance/jco-transpile";

const [component, server] = process.argv.slice(2);
const folder = new URL("connector", import.meta.url).pathname;
const access = { accessKeyId: "node", secretAccessKey: "node-secret", region: "us-east-1", service: "s3" };
const buckets = { source: "node-source", destination: "node-destination" };

/** The end of a run that takes too long. */
const RUN_MAX_MS = 300_000;

const { files } = await transpileBytes(await readFile(component), { name: "connector", instantiation: "async" });
await rm(folder, { recursive: true, force: true });
for (const [name, bytes] of Object.entries(files)) {
  await mkdir(dirname(`${folder}/${name}`), { recursive: true });
  await writeFile(`${folder}/${name}`, bytes);
}
await writeFile(`${folder}/package.json`, '{ "type": "module" }\n');

const store = spawn(
  server,
  ["--access-key", access.accessKeyId, "--secret-key", access.secretAccessKey, "--region", access.region, "--versioning"]
    .concat(Object.values(buckets).flatMap((name) => ["--bucket", name])),
  { stdio: ["ignore", "pipe", "inherit"] },
);
store.on("error", (error) => fail(`${server}: ${error.message}`));
store.on("exit", (code) => fail(`the store ended early, with ${code}`));

function end(code) {
  store.kill();
  process.exit(code);
}

function fail(why) {
  console.error(`failed: ${why}`);
  end(1);
}

const timer = setTimeout(() => fail(`it takes longer than ${RUN_MAX_MS / 1000} s`), RUN_MAX_MS);
timer.unref();
createInterface(store.stdout).once("line", (line) => {
  const endpoint = line.split(" ").at(-1);
  const worker = new Worker(new URL("scenarios.mjs", import.meta.url), { workerData: { folder, endpoint, access, buckets } });
  // Calls of the component block the worker; this thread must not notice.
  let ticks = 0;
  const ticking = setInterval(() => ticks++, 10);
  worker.on("message", (message) => {
    if (message !== undefined) {
      console.log(message);
      return;
    }
    clearInterval(ticking);
    if (ticks < 20) {
      fail(`the main thread stood still: it ticked ${ticks} times`);
    }
    console.log("ok: the main thread went on meanwhile");
    end(0);
  });
  worker.on("error", (error) => fail(error.stack ?? String(error)));
  worker.on("exit", (code) => fail(`the worker ended early, with ${code}`));
});

// Owns the host: what the component imports, and nothing that `wit/` does not say. Leaves what sources and destinations do to
// the test.
//
// Calls of the component block their thread until they return. That is why this runs in a worker.

import { readFile } from "node:fs/promises";
import { http } from "@bytecodealliance/preview2-shim";
import { WASIShim } from "@bytecodealliance/preview2-shim/instantiation";
import { sign } from "./sign.mjs";

/** Settings whose values this host keeps, whatever a specification says of them. It may only add to them. */
const SECRETS = ["aws.accessKeyId", "aws.secretAccessKey", "aws.sessionToken", "aws.roleExternalId"];

/** Headers that are the host's to add. A request that comes with one of them is denied. */
const OURS = ["authorization", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];

/**
 * Header fields with room for what is signed. The component locks a request's fields before it says where the request
 * goes, so a host can't add to them by `append`. The shim hands out plain fields, too, for answers: both are instances.
 */
class SignedFields extends http.types.Fields {
  signed = [];

  entries() {
    return [...super.entries(), ...this.signed];
  }

  static [Symbol.hasInstance](value) {
    return Object.prototype.isPrototypeOf.call(http.types.Fields.prototype, value);
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Sends the component's requests: checks, signs, and hands them to the shim. */
function outgoingHandler(access) {
  return {
    handle(request, options) {
      const { method } = { method: request.method() };
      const headers = request.headers();
      const texts = headers.entries().map(([name, value]) => [name, decoder.decode(value)]);
      const forged = texts.some(([name]) => OURS.includes(name.toLowerCase()));
      if (!access.endpoint || request.authority() !== new URL(access.endpoint).host || forged) {
        throw { tag: "HTTP-request-denied" };
      }
      const plain = {
        method: (method.val ?? method.tag).toUpperCase(),
        authority: request.authority(),
        pathWithQuery: request.pathWithQuery(),
        headers: texts,
      };
      const signed = access.isAnonymous ? [] : sign(plain, access);
      headers.signed = signed.map(([name, value]) => [name, encoder.encode(value)]);
      return http.outgoingHandler.handle(request, options);
    },
  };
}

/** State that is kept in a map, or nowhere. */
function state(kept) {
  const change = (apply) => {
    if (!kept) {
      throw { kind: "unavailable", message: "this host keeps nothing", retryAfterMs: undefined };
    }
    apply();
  };
  return {
    load: (name) => kept?.get(name),
    commit: (edits) =>
      change(() => edits.forEach(({ name, value }) => (value ? kept.set(name, value.slice()) : kept.delete(name)))),
  };
}

/**
 * An instance of the component, transpiled into `folder`.
 * @param kept a map for its state; without one nothing is kept
 */
export async function instantiate(folder, kept) {
  const { instantiate } = await import(`${folder}/connector.js`);
  const compile = async (name) => WebAssembly.compile(await readFile(`${folder}/${name}`));
  const access = {};
  const lines = [];
  const imports = {
    ...new WASIShim().getImportObject(),
    "wasi:http/types": { ...http.types, Fields: SignedFields },
    "wasi:http/outgoing-handler": outgoingHandler(access),
    "opencdc:connector/types": {},
    "opencdc:connector/state": state(kept),
    "opencdc:connector/log": { log: (level, context, message) => lines.push({ level, context, message }) },
  };
  const exports = await instantiate(compile, imports);
  return new Host(exports, access, lines);
}

/** The component, and what its specification says that must be signed. */
class Host {
  constructor(exports, access, lines) {
    this.exports = exports;
    this.access = access;
    this.lines = lines;
    this.specification = exports.specifier.specify();
  }

  /** Keeps the secrets of these settings, and returns the settings as the component gets them. */
  #prepare(settings, parameters) {
    const labels = new Map(this.specification.labels);
    if (labels.get("auth") !== "aws-sigv4") {
      throw new Error("this host signs for AWS alone");
    }
    this.access.service = labels.get("auth.service");
    this.access.region = settings[labels.get("auth.region")];
    this.access.endpoint = settings[labels.get("auth.endpoint")];
    this.access.isAnonymous = ["1", "t", "T", "true", "TRUE", "True"].includes(settings[labels.get("auth.anonymous")]);
    const fields = {
      "access-key-id": "accessKeyId",
      "secret-access-key": "secretAccessKey",
      "session-token": "sessionToken",
    };
    const secrets = new Set(SECRETS);
    for (const parameter of parameters) {
      if (parameter.secret) {
        secrets.add(parameter.name);
      }
      const role = new Map(parameter.labels).get("auth.role");
      if (role && !fields[role] && settings[parameter.name]) {
        throw new Error(`this host can't do what ${parameter.name} asks for`);
      }
      if (fields[role]) {
        this.access[fields[role]] = settings[parameter.name];
      }
    }
    return Object.entries(settings).map(([name, value]) => [name, secrets.has(name) ? "redacted" : value]);
  }

  source(settings) {
    const prepared = this.#prepare(settings, this.specification.sourceParameters);
    return this.exports.source.Source.configure(prepared);
  }

  destination(settings) {
    const prepared = this.#prepare(settings, this.specification.destinationParameters);
    return this.exports.destination.Destination.configure(prepared);
  }
}

const dispose = Symbol.dispose ?? Symbol.for("dispose");

/** Bytes that are asked of a stream at a time. */
const READ_BYTES = 1n << 18n;

/** A record's payload in memory. The stream is dropped, as it must be before the record is acked. */
export function bytesOf(data) {
  if (data?.tag !== "body") {
    return data && Buffer.from(data.val);
  }
  const stream = data.val.bytes;
  const pieces = [];
  try {
    for (;;) {
      pieces.push(stream.blockingRead(READ_BYTES));
    }
  } catch (error) {
    // The end, or what `wasi:io` says of a stream that broke off.
    if ((error.payload ?? error).tag !== "closed") {
      throw error;
    }
  } finally {
    stream[dispose]();
  }
  return Buffer.concat(pieces);
}

// Owns signatures: AWS Signature Version 4 as `world.wit` describes it, for requests of the component and of the test's own
// client. Leaves who may be signed for to the caller.

import { createHash, createHmac } from "node:crypto";

const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
const hex = (text) => createHash("sha256").update(text).digest("hex");

/** Query parameters in the order of their names, each with its `=`. They are encoded already, and not once more. */
function canonicalQuery(query) {
  const pairs = query.split("&").filter(Boolean).map((pair) => (pair.includes("=") ? pair : `${pair}=`));
  return pairs.sort((a, b) => (a.split("=", 1)[0] < b.split("=", 1)[0] ? -1 : 1)).join("&");
}

/**
 * The headers that a host adds to a request.
 * @param request `method`, `authority`, `pathWithQuery`, `headers` (pairs of texts)
 * @param access `accessKeyId`, `secretAccessKey`, `sessionToken` (may be absent), `region`, `service`
 */
export function sign(request, access, now = new Date()) {
  const time = now.toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
  const scope = `${time.slice(0, 8)}/${access.region}/${access.service}/aws4_request`;
  const added = [["x-amz-content-sha256", "UNSIGNED-PAYLOAD"], ["x-amz-date", time]];
  if (access.sessionToken) {
    added.push(["x-amz-security-token", access.sessionToken]);
  }
  // All that the store may act on: the host, and what begins with `x-amz-`.
  const all = [["host", request.authority], ...request.headers, ...added]
    .map(([name, value]) => [name.toLowerCase(), value.trim().replaceAll(/ +/g, " ")])
    .filter(([name]) => name === "host" || name.startsWith("x-amz-"))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const names = all.map(([name]) => name).join(";");
  const [path, query = ""] = request.pathWithQuery.split(/\?(.*)/s);
  const headers = all.map(([name, value]) => `${name}:${value}\n`).join("");
  const canonical = [request.method, path, canonicalQuery(query), headers, names, "UNSIGNED-PAYLOAD"].join("\n");
  const toSign = ["AWS4-HMAC-SHA256", time, scope, hex(canonical)].join("\n");
  const key = scope.split("/").reduce(hmac, `AWS4${access.secretAccessKey}`);
  const signature = createHmac("sha256", key).update(toSign).digest("hex");
  const credential = `${access.accessKeyId}/${scope}`;
  const text = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names}, Signature=${signature}`;
  return [...added, ["authorization", text]];
}

// Owns the test's own client of the store, which shows what a bucket holds. Leaves signing to `sign.mjs`, as the host does.

import { sign } from "./sign.mjs";

/** A key as a path, whose slashes stay. */
const path = (key) => `/${key.split("/").map(encodeURIComponent).join("/")}`;

/** A client of one bucket. */
export class Bucket {
  constructor(endpoint, name, access) {
    Object.assign(this, { endpoint, name, access });
  }

  async #send(method, rest, body) {
    const pathWithQuery = `/${this.name}${rest}`;
    const request = { method, authority: new URL(this.endpoint).host, pathWithQuery, headers: [] };
    const headers = Object.fromEntries(sign(request, this.access));
    const answer = await fetch(this.endpoint + pathWithQuery, { method, headers, body });
    if (!answer.ok) {
      throw new Error(`${method} ${pathWithQuery}: ${answer.status} ${await answer.text()}`);
    }
    return Buffer.from(await answer.arrayBuffer());
  }

  put = (key, body) => this.#send("PUT", path(key), body);
  get = (key) => this.#send("GET", path(key));
  delete = (key) => this.#send("DELETE", path(key));

  /** The keys, of which there are fewer than a page holds. */
  async keys() {
    const listing = (await this.#send("GET", "?list-type=2")).toString();
    return [...listing.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) => key);
  }
}

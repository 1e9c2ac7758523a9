// SPDX-License-Identifier: Apache-2.0
// What the scenario does not show: time limits, wrong arguments, answers of somebody else.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BadReply, bf16, Client, ClientError, ConnectionLost, f16, f32, ProblemError, type Tensor } from "../src/index.js";
import { pack, unpack } from "../src/safetensors.js";

/** A fetch() that gives these answers, one after the other. */
function answers(...all: Array<Response | Error>): typeof fetch {
  return () => {
    const next = all.shift()!;
    return next instanceof Error ? Promise.reject(next) : Promise.resolve(next);
  };
}

test("no server is lost, and soon", async () => {
  const client = new Client({ unix: "/nonexistent/socket", retry: { attempts: 3, firstWait: 1 } });
  await assert.rejects(client.getVersion(), (error: unknown) => error instanceof ConnectionLost && !error.sent);
});

test("silence ends with the time limit, and with the caller's signal", async () => {
  const silent: typeof fetch = (_, init) =>
    new Promise((_resolve, reject) => init!.signal!.addEventListener("abort", () => reject(init!.signal!.reason)));
  const client = new Client({ fetch: silent, timeout: 50 });
  await assert.rejects(client.getVersion(), ConnectionLost);
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 20);
  await assert.rejects(client.getVersion({ signal: abort.signal, timeout: 60000 }), ConnectionLost);
});

test("an address that is none is refused at once", () => {
  for (const url of ["", "127.0.0.1:1", "ftp://x", "http://"]) assert.throws(() => new Client({ url }), ClientError);
});

test("answers of somebody else are bad replies", async () => {
  const html = { headers: { "content-type": "text/html" } };
  for (const reply of [
    () => new Response("<p>", html),
    () => new Response("<p>", { ...html, status: 404 }),
    () => new Response(null, { status: 302, headers: { location: "/" } }),
    () => new Response("{", { status: 409, headers: { "content-type": "application/problem+json" } }),
  ]) {
    await assert.rejects(new Client({ fetch: answers(reply()) }).getVersion(), BadReply);
    if (reply().status !== 200) {
      await assert.rejects(new Client({ fetch: answers(reply()) }).deleteCache("a"), BadReply);
    }
  }
});

test("a problem of a newer server is still a problem", async () => {
  const body = JSON.stringify({ type: "urn:mustafar:problem:new", title: "New", status: 400, detail: "x", instance: "", n: 7 });
  const reply = new Response(body, { status: 400, headers: { "content-type": "application/problem+json" } });
  await assert.rejects(new Client({ fetch: answers(reply) }).getVersion(), (error: unknown) => {
    assert.ok(error instanceof ProblemError);
    assert.deepEqual([error.slug, error.status, error.members], ["new", 400, { n: 7 }]);
    return true;
  });
});

test("tensors that do not fit are refused before anything is sent", async () => {
  const client = new Client({ fetch: answers() });
  const good = f16(new Uint16Array(12), 3, 2, 2);
  const wrong: Tensor[] = [
    { dtype: "f32", shape: [3, 2, 2], data: new Uint16Array(12) },
    f16(new Uint16Array(12), 6, 2),
    f16(new Uint16Array(11), 3, 2, 2),
    f16(new Uint16Array(0), 0, 2, 2),
    f32(new Float32Array(12), 3, 2, 2),
    f16(new Uint16Array(8), 2, 2, 2),
  ];
  for (const k of wrong) await assert.rejects(client.appendRows("a", 0, k, good, { expect: 0 }), ClientError);
});

test("safetensors read back, and spoiled ones are refused", () => {
  const tensors = { a: f32(new Float32Array([1, 2, 3, 4, 5, 6]), 2, 3), b: bf16(new Uint16Array([7, 8]), 2) };
  const body = pack(tensors, { x: "y" });
  assert.deepEqual(unpack(body), tensors);
  for (let length = 0; length < body.length; length++) assert.throws(() => unpack(body.slice(0, length)), BadReply);
});

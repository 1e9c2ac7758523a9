// SPDX-License-Identifier: Apache-2.0
// The client against daemon/openapi.json: nothing is missing, nothing has drifted. MUSTAFAR_SOURCE_DIR: the tree.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Client, problems } from "../src/index.js";

const root = process.env["MUSTAFAR_SOURCE_DIR"] ?? "../..";
const read = (file: string) => JSON.parse(readFileSync(`${root}/${file}`, "utf8")) as Record<string, any>;
const openapi = read("daemon/openapi.json");

test("problem types are the closed list", () => {
  const types: string[] = openapi["components"].schemas.problem.properties.type.enum;
  const mine = Object.keys(problems.problems).map((slug) => `urn:mustafar:problem:${slug}`);
  assert.deepEqual(mine, types, "run clients/generate.py");
});

test("every operation has a method or a reason", () => {
  const leftOut = read("clients/left_out.json");
  for (const methods of Object.values<Record<string, { operationId: string }>>(openapi["paths"])) {
    for (const { operationId } of Object.values(methods)) {
      const name = operationId.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
      assert.ok(name in Client.prototype || leftOut[operationId], `there is no method ${name}`);
    }
  }
});

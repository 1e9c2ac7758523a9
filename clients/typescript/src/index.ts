// SPDX-License-Identifier: Apache-2.0
// A client of mustafard, the HTTP service of libmustafar. Client is where to begin.

export { Client } from "./client.js";
export { BadReply, ClientError, ConnectionLost, type ProblemDocument, ProblemError } from "./errors.js";
export type { JobEvent } from "./jobs.js";
export * as problems from "./problems.js";
export type { AppendRowsQuery, Attended, AttendQuery, AttendRowsQuery, HeadQuery, Pair, Part } from "./rows.js";
export * from "./schemas.js";
export { bf16, type DType, f16, f32, type Tensor } from "./tensors.js";
export type { CallInit, CallOptions, ClientOptions, Reply, Retry } from "./transport.js";

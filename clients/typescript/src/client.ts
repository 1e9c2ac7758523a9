// SPDX-License-Identifier: Apache-2.0

import { Jobs } from "./jobs.js";

/**
 * A mustafard, by its address or UNIX socket. Methods bear the operationId of /openapi.json. Errors: ProblemError and
 * its subclasses, ConnectionLost, BadReply; all are ClientError.
 */
export class Client extends Jobs {}

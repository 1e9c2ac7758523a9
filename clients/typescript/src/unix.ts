// SPDX-License-Identifier: Apache-2.0
// fetch() over a UNIX socket, which the one of Node cannot do.

import { Agent, request, type IncomingMessage } from "node:http";

/** As much of fetch() as the client uses. */
export function unixFetch(socketPath: string): typeof fetch {
  const agent = new Agent({ keepAlive: true });
  return (input, init) =>
    new Promise((resolve, reject) => {
      const url = new URL(String(input));
      const body = init?.body as Uint8Array | undefined;
      const headers: Record<string, string> = {};
      new Headers(init?.headers).forEach((value, name) => (headers[name] = value));
      if (body !== undefined || init?.method !== "GET") headers["content-length"] = String(body?.byteLength ?? 0);
      const signal = init?.signal ?? undefined;
      const method = init?.method ?? "GET";
      const path = url.pathname + url.search;
      const call = request({ socketPath, path, method, headers, agent, signal });
      call.on("error", reject);
      call.on("response", (reply) => resolve(response(reply)));
      call.end(body);
    });
}

function response(reply: IncomingMessage): Response {
  const headers = new Headers();
  for (let i = 0; i + 1 < reply.rawHeaders.length; i += 2) {
    headers.append(reply.rawHeaders[i]!, reply.rawHeaders[i + 1]!);
  }
  const status = reply.statusCode ?? 0;
  const chunks = reply[Symbol.asyncIterator]();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = await chunks.next();
      if (next.done) controller.close();
      else controller.enqueue(next.value);
    },
    cancel: () => reply.destroy(),
  });
  return new Response(status === 204 || status === 304 ? null : stream, { status, headers });
}

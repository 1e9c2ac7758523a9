// SPDX-License-Identifier: Apache-2.0
// What can go wrong: the server refused (ProblemError), or there was no answer (ConnectionLost).

export const prefix = "urn:mustafar:problem:";

/** Everything this package throws on purpose. */
export class ClientError extends Error {
  override name = this.constructor.name;
}

/** No complete answer came. Where `sent`, the server may have done the work. */
export class ConnectionLost extends ClientError {
  constructor(
    request: string,
    readonly sent: boolean,
    override readonly cause: unknown,
  ) {
    super(`${request}: no answer: ${text(cause)}`);
  }
}

/** The answer is not one of mustafard, but of another server or of a proxy in between. */
export class BadReply extends ClientError {
  constructor(
    readonly status: number,
    what: string,
  ) {
    super(`status ${status}: ${what}`);
  }
}

/** A problem document (RFC 9457); the numbers and names behind the text are members beside these. */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  [member: string]: unknown;
}

/**
 * The server refused, and says why. There is a subclass per type, in `problems`; one that this package does not know,
 * of a newer server, comes as ProblemError itself.
 */
export class ProblemError extends ClientError {
  constructor(readonly document: ProblemDocument) {
    super(`${document.title}: ${document.detail}`);
  }

  /** The type, without urn:mustafar:problem: */
  get slug(): string {
    return this.document.type.replace(prefix, "");
  }

  get status(): number {
    return this.document.status;
  }

  /** What the log of the server calls the request. */
  get requestId(): string {
    return this.document.instance.replace("urn:request:", "");
  }

  /** The numbers and names behind the text. */
  get members(): Record<string, unknown> {
    const { type: _t, title: _n, status: _s, detail: _d, instance: _i, ...rest } = this.document;
    return rest;
  }
}

function text(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return inner instanceof Error ? inner.message : String(inner);
}

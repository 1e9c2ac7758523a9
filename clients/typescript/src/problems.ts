// SPDX-License-Identifier: Apache-2.0
// One class per problem type of mustafard. Written by clients/generate.py; do not edit.

import { ProblemError } from "./errors.js";

export class MalformedRequest extends ProblemError {}

export class BadParameter extends ProblemError {}

export class BodySize extends ProblemError {}

export class DigestMismatch extends ProblemError {}

export class Unauthorized extends ProblemError {}

export class Forbidden extends ProblemError {}

export class ForeignOrigin extends ProblemError {}

export class NotFound extends ProblemError {}

export class MethodNotAllowed extends ProblemError {}

export class NotAcceptable extends ProblemError {}

export class RequestTimeout extends ProblemError {}

export class Exists extends ProblemError {}

export class LengthMismatch extends ProblemError {}

export class BadState extends ProblemError {}

export class NotExact extends ProblemError {}

export class Capacity extends ProblemError {}

export class JobState extends ProblemError {}

export class LengthRequired extends ProblemError {}

export class PreconditionFailed extends ProblemError {}

export class BodyTooLarge extends ProblemError {}

export class TargetTooLong extends ProblemError {}

export class MediaType extends ProblemError {}

export class Expectation extends ProblemError {}

export class Misdirected extends ProblemError {}

export class BadBody extends ProblemError {}

export class InvalidArgument extends ProblemError {}

export class Unsupported extends ProblemError {}

export class NonFinite extends ProblemError {}

export class Corrupt extends ProblemError {}

export class Mismatch extends ProblemError {}

export class BadTrace extends ProblemError {}

export class IdempotencyMismatch extends ProblemError {}

export class PreconditionRequired extends ProblemError {}

export class HeadTooLarge extends ProblemError {}

export class Internal extends ProblemError {}

export class Device extends ProblemError {}

export class Busy extends ProblemError {}

export class StagingFull extends ProblemError {}

export class Locked extends ProblemError {}

export class Draining extends ProblemError {}

export class QueueFull extends ProblemError {}

export class TooManyStreams extends ProblemError {}

export class HttpVersion extends ProblemError {}

export class QuotaExceeded extends ProblemError {}

export class LimitReached extends ProblemError {}

export class Storage extends ProblemError {}

export const problems: Record<string, typeof ProblemError> = {
  "malformed-request": MalformedRequest,
  "bad-parameter": BadParameter,
  "body-size": BodySize,
  "digest-mismatch": DigestMismatch,
  "unauthorized": Unauthorized,
  "forbidden": Forbidden,
  "foreign-origin": ForeignOrigin,
  "not-found": NotFound,
  "method-not-allowed": MethodNotAllowed,
  "not-acceptable": NotAcceptable,
  "request-timeout": RequestTimeout,
  "exists": Exists,
  "length-mismatch": LengthMismatch,
  "bad-state": BadState,
  "not-exact": NotExact,
  "capacity": Capacity,
  "job-state": JobState,
  "length-required": LengthRequired,
  "precondition-failed": PreconditionFailed,
  "body-too-large": BodyTooLarge,
  "target-too-long": TargetTooLong,
  "media-type": MediaType,
  "expectation": Expectation,
  "misdirected": Misdirected,
  "bad-body": BadBody,
  "invalid-argument": InvalidArgument,
  "unsupported": Unsupported,
  "non-finite": NonFinite,
  "corrupt": Corrupt,
  "mismatch": Mismatch,
  "bad-trace": BadTrace,
  "idempotency-mismatch": IdempotencyMismatch,
  "precondition-required": PreconditionRequired,
  "head-too-large": HeadTooLarge,
  "internal": Internal,
  "device": Device,
  "busy": Busy,
  "staging-full": StagingFull,
  "locked": Locked,
  "draining": Draining,
  "queue-full": QueueFull,
  "too-many-streams": TooManyStreams,
  "http-version": HttpVersion,
  "quota-exceeded": QuotaExceeded,
  "limit-reached": LimitReached,
  "storage": Storage,
};

# SPDX-License-Identifier: Apache-2.0
"""One exception per problem type of mustafard. Written by clients/generate.py; do not edit."""

from __future__ import annotations

from .errors import ProblemError


class MalformedRequest(ProblemError):
    """urn:mustafar:problem:malformed-request"""


class BadParameter(ProblemError):
    """urn:mustafar:problem:bad-parameter"""


class BodySize(ProblemError):
    """urn:mustafar:problem:body-size"""


class DigestMismatch(ProblemError):
    """urn:mustafar:problem:digest-mismatch"""


class Unauthorized(ProblemError):
    """urn:mustafar:problem:unauthorized"""


class Forbidden(ProblemError):
    """urn:mustafar:problem:forbidden"""


class ForeignOrigin(ProblemError):
    """urn:mustafar:problem:foreign-origin"""


class NotFound(ProblemError):
    """urn:mustafar:problem:not-found"""


class MethodNotAllowed(ProblemError):
    """urn:mustafar:problem:method-not-allowed"""


class NotAcceptable(ProblemError):
    """urn:mustafar:problem:not-acceptable"""


class RequestTimeout(ProblemError):
    """urn:mustafar:problem:request-timeout"""


class Exists(ProblemError):
    """urn:mustafar:problem:exists"""


class LengthMismatch(ProblemError):
    """urn:mustafar:problem:length-mismatch"""


class BadState(ProblemError):
    """urn:mustafar:problem:bad-state"""


class NotExact(ProblemError):
    """urn:mustafar:problem:not-exact"""


class Capacity(ProblemError):
    """urn:mustafar:problem:capacity"""


class JobState(ProblemError):
    """urn:mustafar:problem:job-state"""


class LengthRequired(ProblemError):
    """urn:mustafar:problem:length-required"""


class PreconditionFailed(ProblemError):
    """urn:mustafar:problem:precondition-failed"""


class BodyTooLarge(ProblemError):
    """urn:mustafar:problem:body-too-large"""


class TargetTooLong(ProblemError):
    """urn:mustafar:problem:target-too-long"""


class MediaType(ProblemError):
    """urn:mustafar:problem:media-type"""


class Expectation(ProblemError):
    """urn:mustafar:problem:expectation"""


class Misdirected(ProblemError):
    """urn:mustafar:problem:misdirected"""


class BadBody(ProblemError):
    """urn:mustafar:problem:bad-body"""


class InvalidArgument(ProblemError):
    """urn:mustafar:problem:invalid-argument"""


class Unsupported(ProblemError):
    """urn:mustafar:problem:unsupported"""


class NonFinite(ProblemError):
    """urn:mustafar:problem:non-finite"""


class Corrupt(ProblemError):
    """urn:mustafar:problem:corrupt"""


class Mismatch(ProblemError):
    """urn:mustafar:problem:mismatch"""


class BadTrace(ProblemError):
    """urn:mustafar:problem:bad-trace"""


class IdempotencyMismatch(ProblemError):
    """urn:mustafar:problem:idempotency-mismatch"""


class PreconditionRequired(ProblemError):
    """urn:mustafar:problem:precondition-required"""


class HeadTooLarge(ProblemError):
    """urn:mustafar:problem:head-too-large"""


class Internal(ProblemError):
    """urn:mustafar:problem:internal"""


class Device(ProblemError):
    """urn:mustafar:problem:device"""


class Busy(ProblemError):
    """urn:mustafar:problem:busy"""


class StagingFull(ProblemError):
    """urn:mustafar:problem:staging-full"""


class Locked(ProblemError):
    """urn:mustafar:problem:locked"""


class Draining(ProblemError):
    """urn:mustafar:problem:draining"""


class QueueFull(ProblemError):
    """urn:mustafar:problem:queue-full"""


class TooManyStreams(ProblemError):
    """urn:mustafar:problem:too-many-streams"""


class HttpVersion(ProblemError):
    """urn:mustafar:problem:http-version"""


class QuotaExceeded(ProblemError):
    """urn:mustafar:problem:quota-exceeded"""


class LimitReached(ProblemError):
    """urn:mustafar:problem:limit-reached"""


class Storage(ProblemError):
    """urn:mustafar:problem:storage"""


PROBLEMS: dict[str, type[ProblemError]] = {
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
}

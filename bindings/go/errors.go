// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
)

// Status is what a call of the library returned. It is an error, so that errors.Is takes the constants below;
// calls return *Error. Expect values that are not listed here.
type Status int32

// The kinds of errors. What Error.Values holds is told in parentheses.
const (
	OK                 Status = C.MUSTAFAR_OK
	ErrInvalidArgument Status = C.MUSTAFAR_INVALID_ARGUMENT // shape, stride, range, malformed text
	ErrUnsupported     Status = C.MUSTAFAR_UNSUPPORTED      // well formed, not served here
	ErrOutOfMemory     Status = C.MUSTAFAR_OUT_OF_MEMORY    // (asked, used, limit in bytes; limit 0: the allocator)
	ErrCapacity        Status = C.MUSTAFAR_CAPACITY         // MaxTokens (asked, held, limit)
	ErrBadState        Status = C.MUSTAFAR_BAD_STATE        // the call does not fit the state of the object
	ErrNonFinite       Status = C.MUSTAFAR_NON_FINITE       // (Append: side, token, head, channel; Attend: cache, query, head, channel)
	ErrNotExact        Status = C.MUSTAFAR_NOT_EXACT        // Truncate asks packed rows back (smallest exact length)
	ErrCorrupt         Status = C.MUSTAFAR_CORRUPT          // damaged bytes (byte offset)
	ErrMismatch        Status = C.MUSTAFAR_MISMATCH         // a snapshot of another geometry, recipe, model or version
	ErrIO              Status = C.MUSTAFAR_IO               // a file (errno), a reader or a writer; see Error.Unwrap
	ErrDevice          Status = C.MUSTAFAR_DEVICE           // the device or its driver failed
	ErrInternal        Status = C.MUSTAFAR_INTERNAL         // a bug of the library; please report the text
)

// Two kinds of ErrBadState that this package tells itself.
var (
	ErrClosed = errors.New("mustafar: closed")
	ErrBusy   = errors.New("mustafar: in use")
)

// Error returns the symbol of the status, "MUSTAFAR_NON_FINITE" for one.
func (s Status) Error() string { return C.GoString(C.mustafar_status_name(C.mustafar_status(s))) }

// Error is a call that failed and changed nothing.
type Error struct {
	Code    Status
	Values  [4]int64 // numbers behind the text, see the statuses; 0 where unused
	Message string   // "call: argument = value, limit, way out"
	cause   error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Is reports whether target is the status of e.
func (e *Error) Is(target error) bool {
	status, ok := target.(Status)
	return ok && status == e.Code
}

// Unwrap returns what lies behind: what a reader or writer returned, the errno of a file (so that
// errors.Is(err, fs.ErrNotExist) works), ErrClosed, ErrBusy, or nil.
func (e *Error) Unwrap() error { return e.cause }

// failure is the error that a call returned; nil where there is none.
func failure(e *C.mustafar_error) error {
	if e.code == C.MUSTAFAR_OK {
		return nil
	}
	return newError(e)
}

// Room for the errors of the calls that are made for every token: nobody else has it while a call runs.
var errorRoom = sync.Pool{New: func() any { return new(C.mustafar_error) }}

func takeError() *C.mustafar_error  { return errorRoom.Get().(*C.mustafar_error) }
func giveError(e *C.mustafar_error) { errorRoom.Put(e) }

// failureOf is failure where e says nothing unless the status does.
func failureOf(status C.mustafar_status, e *C.mustafar_error) error {
	if status == C.MUSTAFAR_OK {
		return nil
	}
	e.code = status
	return newError(e)
}

func newError(e *C.mustafar_error) *Error {
	made := &Error{Code: Status(e.code), Message: text(e.message[:])}
	for i, value := range e.values {
		made.Values[i] = int64(value)
	}
	return made
}

// fileFailure is failure for calls that take a path.
func fileFailure(e *C.mustafar_error) error {
	if e.code == C.MUSTAFAR_OK {
		return nil
	}
	made := newError(e)
	if made.Code == ErrIO && made.Values[0] > 0 {
		made.cause = syscall.Errno(made.Values[0])
	}
	return made
}

func invalid(call, format string, values ...any) error {
	return &Error{Code: ErrInvalidArgument, Message: call + ": " + fmt.Sprintf(format, values...)}
}

// SPDX-License-Identifier: Apache-2.0

package mustafar

import (
	"errors"
	"sync/atomic"
)

// access says who may use a C object: any number of calls that only ask, or one that changes it. Nobody waits:
// what does not fit is refused, since it is a mistake of the caller's that would otherwise corrupt memory.
// That a method ends with release or releaseAlone also keeps the object from its finalizer until then.
type access struct {
	users  int32 // calls that only ask, or alone
	opened bool
}

const alone = -1

func stateError(call, what string, cause error) error {
	return &Error{Code: ErrBadState, Message: call + ": " + what, cause: cause}
}

func closedError(call, name string) error {
	return stateError(call, name+" is closed; make a new one", ErrClosed)
}

// unlessClosed is what Close returns where it could not begin: that it was closed before is no error.
func unlessClosed(err error) error {
	if errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

// acquire lets a call in that may overlap others like it.
func (a *access) acquire(call, name string) error {
	for {
		users := atomic.LoadInt32(&a.users)
		if users == alone {
			return stateError(call, name+" is being changed by another goroutine; let one finish before the other", ErrBusy)
		}
		if atomic.CompareAndSwapInt32(&a.users, users, users+1) {
			break
		}
	}
	if !a.opened {
		a.release()
		return closedError(call, name)
	}
	return nil
}

// acquireAlone lets a call in that needs the object alone.
func (a *access) acquireAlone(call, name string) error {
	if !atomic.CompareAndSwapInt32(&a.users, 0, alone) {
		return stateError(call, name+" is used by another goroutine; let one finish before the other", ErrBusy)
	}
	if !a.opened {
		a.releaseAlone()
		return closedError(call, name)
	}
	return nil
}

func (a *access) release()      { atomic.AddInt32(&a.users, -1) }
func (a *access) releaseAlone() { atomic.StoreInt32(&a.users, 0) }

// SPDX-License-Identifier: Apache-2.0

package mustafar

import "sync"

// access says who may use a C object: any number of calls that only ask, or one that changes it. Nobody waits:
// what does not fit is refused, since it is a mistake of the caller's that would otherwise corrupt memory.
// That a method ends with release or releaseAlone also keeps the object from its finalizer until then.
type access struct {
	mutex  sync.RWMutex
	opened bool
}

func stateError(call, what string, cause error) error {
	return &Error{Code: ErrBadState, Message: call + ": " + what, cause: cause}
}

func closedError(call, name string) error {
	return stateError(call, name+" is closed; make a new one", ErrClosed)
}

// acquire lets a call in that may overlap others like it.
func (a *access) acquire(call, name string) error {
	if a == nil {
		return closedError(call, name)
	}
	if !a.mutex.TryRLock() {
		return stateError(call, name+" is being changed by another goroutine; let one finish before the other", ErrBusy)
	}
	if !a.opened {
		a.mutex.RUnlock()
		return closedError(call, name)
	}
	return nil
}

// acquireAlone lets a call in that needs the object alone.
func (a *access) acquireAlone(call, name string) error {
	if a == nil {
		return closedError(call, name)
	}
	if !a.mutex.TryLock() {
		return stateError(call, name+" is used by another goroutine; let one finish before the other", ErrBusy)
	}
	if !a.opened {
		a.mutex.Unlock()
		return closedError(call, name)
	}
	return nil
}

func (a *access) release()      { a.mutex.RUnlock() }
func (a *access) releaseAlone() { a.mutex.Unlock() }

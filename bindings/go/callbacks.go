// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import (
	"io"
	"runtime/cgo"
	"sync"
	"unsafe"
)

// Nothing of the caller's ever runs with C below it, so a log, a reader or a writer may panic, leave its
// goroutine or call the library. Lines of a log wait until their call returns; a stream is served by the goroutine
// that asked for it, while the call into C waits on another one.

// logQueue holds the lines of the calls that are in C now.
type logQueue struct {
	write func(LogLevel, string)
	mutex sync.Mutex
	lines []logLine
}

type logLine struct {
	level LogLevel
	text  string
}

//export mustafarGoLog
func mustafarGoLog(log C.uintptr_t, level C.int32_t, text *C.char) {
	q := cgo.Handle(log).Value().(*logQueue)
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.lines = append(q.lines, logLine{LogLevel(level), C.GoString(text)})
}

// deliver gives the lines to whoever wanted them. Nothing of the library is locked then.
func (q *logQueue) deliver() {
	if q == nil {
		return
	}
	q.mutex.Lock()
	lines := q.lines
	q.lines = nil
	q.mutex.Unlock()
	for _, line := range lines {
		q.write(line.level, line.text)
	}
}

const chunk = 256 << 10 // bytes that cross from C to a writer at a time, or back from a reader at most

// stream carries bytes between C and a reader or writer.
type stream struct {
	ask    chan []byte // from C: please fill or write this
	answer chan int    // to C: so many bytes; negative = failed
	buffer []byte      // Go memory, since readers and writers must not hold C's
	err    error       // what the reader or writer returned
}

// transfer has the bytes read or written; false where that failed or nobody serves any more.
func (s *stream) transfer(bytes []byte) int {
	s.ask <- bytes
	count, served := <-s.answer
	if !served {
		return -1
	}
	return count
}

//export mustafarGoWrite
func mustafarGoWrite(handle C.uintptr_t, data unsafe.Pointer, bytes C.size_t) C.int32_t {
	s := cgo.Handle(handle).Value().(*stream)
	for rest := unsafe.Slice((*byte)(data), int(bytes)); len(rest) > 0; {
		used := copy(s.buffer[len(s.buffer):cap(s.buffer)], rest)
		s.buffer, rest = s.buffer[:len(s.buffer)+used], rest[used:]
		if len(s.buffer) == cap(s.buffer) && !s.flush() {
			return -1
		}
	}
	return 0
}

// flush writes what has gathered.
func (s *stream) flush() bool {
	if len(s.buffer) > 0 && s.transfer(s.buffer) < 0 {
		return false
	}
	s.buffer = s.buffer[:0]
	return true
}

//export mustafarGoRead
func mustafarGoRead(handle C.uintptr_t, data unsafe.Pointer, bytes C.size_t) C.int64_t {
	s := cgo.Handle(handle).Value().(*stream)
	wanted := int(bytes)
	if wanted > cap(s.buffer) {
		wanted = cap(s.buffer)
	}
	count := s.transfer(s.buffer[:wanted])
	if count > 0 {
		copy(unsafe.Slice((*byte)(data), wanted), s.buffer[:count])
	}
	return C.int64_t(count)
}

// serve runs call on another goroutine and does here what its stream asks for. It returns, or unwinds, when
// call has come back.
func serve(call func(s *stream, handle C.uintptr_t), do func(bytes []byte) (int, error)) *stream {
	s := &stream{ask: make(chan []byte), answer: make(chan int), buffer: make([]byte, 0, chunk)}
	handle := cgo.NewHandle(s)
	go func() {
		defer close(s.ask)
		call(s, C.uintptr_t(handle))
	}()
	defer func() { // where `do` panicked, C is still waiting
		close(s.answer)
		for range s.ask {
		}
		handle.Delete()
	}()
	for bytes := range s.ask {
		count, err := do(bytes)
		if err != nil {
			s.err, count = err, -1
		}
		s.answer <- count
	}
	return s
}

// writeAll makes of a writer what serve wants.
func writeAll(w io.Writer) func([]byte) (int, error) {
	return func(bytes []byte) (int, error) {
		count, err := w.Write(bytes)
		if err == nil && count != len(bytes) {
			err = io.ErrShortWrite
		}
		return count, err
	}
}

// readSome makes of a reader what serve wants: 0 bytes only at the end.
func readSome(r io.Reader) func([]byte) (int, error) {
	return func(bytes []byte) (int, error) {
		for tries := 0; tries < 100; tries++ {
			count, err := r.Read(bytes)
			switch {
			case count < 0 || count > len(bytes):
				return 0, errInvalidRead
			case count > 0: // an error with it comes again at the next call
				return count, nil
			case err == io.EOF:
				return 0, nil
			case err != nil:
				return 0, err
			}
		}
		return 0, io.ErrNoProgress
	}
}

// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import (
	"runtime"
	"runtime/cgo"
	"sync/atomic"
)

// ContextOptions say where caches live; the zero value is the default.
type ContextOptions struct {
	Threads    int    // 0 = as many as the machine has; results do not depend on it
	QuotaBytes uint64 // most bytes the context may hold at once; 0 = no limit
	RefuseRef  bool   // never land on the reference rows
	Backend    string // "" = the best available; the environment variable MUSTAFAR_FORCE_BACKEND wins over it

	// Allocator counts, or makes memory run out; nil = the C library.
	Allocator *CountingAllocator
	// Log gets lines of text, from the goroutine of the call they speak of, right before that call returns. It
	// may use the library. LogLevel is the finest level wanted; 0 = LogInfo.
	Log      func(level LogLevel, text string)
	LogLevel LogLevel
}

// Context is the place where caches live: backend, threads, memory. Every method may overlap any other.
type Context struct {
	access
	raw  *C.mustafar_context
	core *core
}

// core is what C may use for as long as the context or a cache of it is there.
type core struct {
	references int32
	allocator  *CountingAllocator
	log        *logQueue
	handle     cgo.Handle // of log; 0 = none
}

func (c *core) retain() *core {
	atomic.AddInt32(&c.references, 1)
	return c
}

func (c *core) release() {
	if atomic.AddInt32(&c.references, -1) == 0 && c.handle != 0 {
		c.handle.Delete()
	}
	runtime.KeepAlive(c.allocator)
}

// NewContext creates a context. ErrUnsupported: a backend that is unknown or cannot run here.
func NewContext(options ContextOptions) (*Context, error) {
	a := arguments{call: "mustafar_context_create"}
	a.err = usable(a.call)
	told := C.mustafar_context_options{
		threads:     a.number("options.threads", options.Threads),
		quota_bytes: C.uint64_t(options.QuotaBytes),
	}
	if options.RefuseRef {
		told.flags = C.MUSTAFAR_CONTEXT_REFUSE_REF
	}
	if len(options.Backend) >= len(told.backend) {
		a.refuse("options.backend = %q is longer than any name of a backend", options.Backend)
	}
	a.text("options.backend", options.Backend)
	level := a.number("options.log_level", int(options.LogLevel))
	if options.Log == nil && level != 0 {
		a.refuse("options.log_level = %d without a log has no effect; give one", level)
	}
	if a.err != nil {
		return nil, a.err
	}
	for i := 0; i < len(options.Backend); i++ {
		told.backend[i] = C.char(options.Backend[i])
	}
	if level == 0 {
		level = C.uint32_t(LogInfo)
	}
	shared := &core{allocator: options.Allocator}
	if options.Log != nil {
		shared.log = &logQueue{write: options.Log}
		shared.handle = cgo.NewHandle(shared.log)
	}
	var counts *C.mustafar_go_counts
	if options.Allocator != nil {
		counts = options.Allocator.raw
	}
	result := C.mustafar_go_context_create(told, counts, C.uintptr_t(shared.handle), C.int32_t(level))
	shared.retain()
	defer shared.log.deliver()
	if err := failure(&result.error); err != nil {
		shared.release()
		return nil, err
	}
	c := &Context{access: access{opened: true}, raw: result.context, core: shared}
	runtime.SetFinalizer(c, (*Context).destroy)
	return c, nil
}

// Close gives the context back; what caches of it need stays until the last of them is closed. It may be called
// again; ErrBusy while another goroutine is in a call with it.
func (c *Context) Close() error {
	if c == nil || c.core == nil { // never made
		return nil
	}
	if err := c.acquireAlone("mustafar_context_destroy", "context"); err != nil {
		return unlessClosed(err)
	}
	defer c.core.log.deliver()
	defer c.releaseAlone()
	c.destroy()
	return nil
}

// destroy is Close for those who have the context alone, the finalizer among them.
func (c *Context) destroy() {
	if !c.opened {
		return
	}
	C.mustafar_context_destroy(c.raw)
	c.raw, c.opened = nil, false
	c.core.release()
	runtime.SetFinalizer(c, nil)
}

// use is acquire for a context that may be nil.
func (c *Context) use(call string) error {
	if c == nil {
		return closedError(call, "context")
	}
	return c.acquire(call, "context")
}

// done ends use.
func (c *Context) done() {
	log := c.core.log
	c.release()
	log.deliver()
}

// Kernel tells the row that serves an operation ("attend", "prune", ...) in this context.
func (c *Context) Kernel(op string) (KernelInfo, error) {
	a := arguments{call: "mustafar_context_kernel"}
	name := a.text("op", op)
	if a.err != nil {
		return KernelInfo{}, a.err
	}
	if err := c.use(a.call); err != nil {
		return KernelInfo{}, err
	}
	defer c.done()
	result := C.mustafar_go_context_kernel(c.raw, name)
	return kernelInfo(&result.info), failure(&result.error)
}

// Stats tells memory and caches of this context.
func (c *Context) Stats() (ContextStats, error) {
	if err := c.use("mustafar_context_get_stats"); err != nil {
		return ContextStats{}, err
	}
	defer c.done()
	result := C.mustafar_go_context_get_stats(c.raw)
	s := &result.stats
	return ContextStats{
		Threads:     int(s.threads),
		LiveBytes:   uint64(s.live_bytes),
		PeakBytes:   uint64(s.peak_bytes),
		QuotaBytes:  uint64(s.quota_bytes),
		Allocations: uint64(s.allocations),
		PageBytes:   uint64(s.page_bytes),
		CacheBytes:  uint64(s.cache_bytes),
		WorkBytes:   uint64(s.work_bytes),
		Pages:       uint64(s.pages),
		SharedPages: uint64(s.shared_pages),
		Caches:      uint64(s.caches),
	}, failure(&result.error)
}

// CountingAllocator is memory that counts, for tests: what a context has taken, and what happens when it gets
// no more. It lives as long as you or a context holds it. Its methods may overlap.
type CountingAllocator struct{ raw *C.mustafar_go_counts }

// Counts are those of a CountingAllocator.
type Counts struct {
	LiveBytes   int64 // taken and not given back
	LiveBlocks  int64
	Allocations int64 // so far
}

// NewCountingAllocator makes one; nil where there is no memory for it.
func NewCountingAllocator() *CountingAllocator {
	raw := C.mustafar_go_counts_create()
	if raw == nil {
		return nil
	}
	c := &CountingAllocator{raw}
	runtime.SetFinalizer(c, func(c *CountingAllocator) { C.mustafar_go_counts_destroy(c.raw) })
	return c
}

// Counts tells the counts.
func (c *CountingAllocator) Counts() Counts {
	if c == nil || c.raw == nil {
		return Counts{}
	}
	defer runtime.KeepAlive(c)
	counts := C.mustafar_go_counts_read(c.raw)
	return Counts{int64(counts.live_bytes), int64(counts.live_blocks), int64(counts.allocations)}
}

// FailAfter lets so many more allocations succeed and every later one fail; a negative number lifts that.
func (c *CountingAllocator) FailAfter(allocations int64) {
	if c == nil || c.raw == nil {
		return
	}
	C.mustafar_go_counts_fail_after(c.raw, C.int64_t(allocations))
	runtime.KeepAlive(c)
}

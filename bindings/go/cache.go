// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import "runtime"

// Cache holds the keys and values of one sequence, all layers. Questions (and Attend, Fork, Save) may overlap on
// one cache; a method that changes it needs it alone: what does not fit is refused with ErrBusy.
type Cache struct {
	access
	raw   *C.mustafar_cache
	core  *core
	shape Geometry
}

// NewCache creates an empty cache. Everything that recipe, geometry and backend cannot do together is refused
// here, with ErrUnsupported.
func NewCache(context *Context, geometry Geometry, recipe *Recipe, options CacheOptions) (*Cache, error) {
	a := arguments{call: "mustafar_cache_create"}
	shape, limits := a.geometry(geometry), a.cacheOptions(options)
	if a.err != nil {
		return nil, a.err
	}
	if err := context.use(a.call); err != nil {
		return nil, err
	}
	defer context.done()
	if err := recipe.use(a.call); err != nil {
		return nil, err
	}
	defer recipe.release()
	result := C.mustafar_go_cache_create(context.raw, shape, recipe.raw, limits)
	if err := failure(&result.error); err != nil {
		return nil, err
	}
	return newCache(result.cache, context.core), nil
}

func newCache(raw *C.mustafar_cache, shared *core) *Cache {
	made := C.mustafar_go_cache_describe(raw) // cannot fail: the cache is there
	c := &Cache{access: access{opened: true}, raw: raw, core: shared.retain(), shape: geometryOf(&made.geometry)}
	runtime.SetFinalizer(c, (*Cache).destroy)
	return c
}

// Close gives the cache back. It may be called again; ErrBusy while another goroutine is in a call with it.
func (c *Cache) Close() error {
	if c == nil || c.core == nil { // never made
		return nil
	}
	if err := c.acquireAlone("mustafar_cache_destroy", "cache"); err != nil {
		return unlessClosed(err)
	}
	defer c.core.log.deliver()
	defer c.releaseAlone()
	c.destroy()
	return nil
}

// destroy is Close for those who have the cache alone, the finalizer among them.
func (c *Cache) destroy() {
	if !c.opened {
		return
	}
	C.mustafar_cache_destroy(c.raw)
	c.raw, c.opened = nil, false
	c.core.release()
	runtime.SetFinalizer(c, nil)
}

// use lets a call in that only asks; done ends it.
func (c *Cache) use(call string) error {
	if c == nil {
		return closedError(call, "cache")
	}
	return c.acquire(call, "cache")
}

func (c *Cache) done() {
	c.release()
	c.core.log.deliver()
}

// change lets a call in that needs the cache alone; changed ends it.
func (c *Cache) change(call string) error {
	if c == nil {
		return closedError(call, "cache")
	}
	return c.acquireAlone(call, "cache")
}

func (c *Cache) changed() {
	c.releaseAlone()
	c.core.log.deliver()
}

// Fork makes a second cache with the same content. Pages are shared copy-on-write, windows are copied.
func (c *Cache) Fork() (*Cache, error) {
	if err := c.use("mustafar_cache_fork"); err != nil {
		return nil, err
	}
	defer c.done()
	result := C.mustafar_go_cache_fork(c.raw)
	if err := failure(&result.error); err != nil {
		return nil, err
	}
	return newCache(result.cache, c.core), nil
}

// Append appends token rows to one layer: k [tokens, kv_heads, head_dim_k] and v [tokens, kv_heads, head_dim_v], f16,
// bf16 or f32, any strides. Many tokens at once give the bytes of single ones. ErrNonFinite, ErrCapacity,
// ErrBadState (committed tokens behind tentative ones), ErrOutOfMemory.
func (c *Cache) Append(layer int, k, v Tensor, flags ...AppendFlags) error {
	a := arguments{call: "mustafar_cache_append"}
	l := a.number("layer", layer)
	kView, vView := a.tensor("k", &k), a.tensor("v", &v)
	all := C.uint32_t(0)
	for _, flag := range flags {
		all |= C.uint32_t(flag)
	}
	if a.err != nil {
		return a.err
	}
	if err := c.change(a.call); err != nil {
		return err
	}
	defer c.changed()
	e := takeError()
	defer giveError(e)
	return failureOf(C.mustafar_go_cache_append(c.raw, l, *kView, *vView, all, e), e)
}

// Commit makes the tentative tokens of a layer (or All) committed and packs what leaves the window.
func (c *Cache) Commit(layer int) error {
	a := arguments{call: "mustafar_cache_commit"}
	l := a.number("layer", layer)
	if a.err != nil {
		return a.err
	}
	if err := c.change(a.call); err != nil {
		return err
	}
	defer c.changed()
	result := C.mustafar_go_cache_commit(c.raw, l)
	return failure(&result)
}

// PruneOptions say how Prune chooses; the zero value: as the recipe says. A number that Method does not use must
// be 0, a tensor absent.
type PruneOptions struct {
	Method    PruneMethod
	Keep      int     // PruneTokenTopK, PruneChannels: elements of a row; PruneChannelTopK: rows of every 32; PruneNM: n
	Of        int     // PruneNM: m, a divisor of head_dim
	Threshold float32 // PruneThreshold: smallest magnitude kept

	ChannelWeights Tensor // f32 [kv_heads, head_dim]: magnitudes are multiplied by these first
	TokenWeights   Tensor // f32 [kv_heads, end - begin]: the same per position
	Mask           Tensor // PruneMask: u8 [kv_heads, end - begin, head_dim / 8], lowest bit first
}

// Prune marks the survivors of dense rows at positions [begin, end), without packing them. layer and kvHead are
// indices or All; where one kv head is named, the leading dimension of the three tensors is 1. The rows must be
// dense and outside the window, else ErrBadState.
func (c *Cache) Prune(layer, kvHead int, side Side, begin, end int, options PruneOptions) error {
	a := arguments{call: "mustafar_cache_prune"}
	l, h, s := a.number("layer", layer), a.number("kv_head", kvHead), a.number("side", int(side))
	from, to := a.number("begin", begin), a.number("end", end)
	told := C.mustafar_prune_options{
		method:    a.number("options.method", int(options.Method)),
		keep:      a.number("options.keep", options.Keep),
		of:        a.number("options.of", options.Of),
		threshold: C.float(options.Threshold),
	}
	channels := a.tensor("channel_weights", &options.ChannelWeights)
	tokens := a.tensor("token_weights", &options.TokenWeights)
	mask := a.tensor("mask", &options.Mask)
	if a.err != nil {
		return a.err
	}
	if err := c.change(a.call); err != nil {
		return err
	}
	defer c.changed()
	result := C.mustafar_go_cache_prune(c.raw, l, h, s, from, to, told, *channels, *tokens, *mask)
	return failure(&result)
}

// Compress packs every row of a layer (or All) that is outside the window. ErrBadState: a mark does not fit the
// encoding, or the recipe's method is a mask and a row has none.
func (c *Cache) Compress(layer int) error {
	a := arguments{call: "mustafar_cache_compress"}
	l := a.number("layer", layer)
	if a.err != nil {
		return a.err
	}
	if err := c.change(a.call); err != nil {
		return err
	}
	defer c.changed()
	result := C.mustafar_go_cache_compress(c.raw, l)
	return failure(&result)
}

// Evict removes rows of one kv head for good, by strictly ascending positions; with EvictKeep those are what
// stays. Sinks and window always stay.
func (c *Cache) Evict(layer, kvHead int, positions []int32, flags ...EvictFlags) error {
	a := arguments{call: "mustafar_cache_evict"}
	l, h := a.number("layer", layer), a.number("kv_head", kvHead)
	all := C.uint32_t(0)
	for _, flag := range flags {
		all |= C.uint32_t(flag)
	}
	if a.err != nil {
		return a.err
	}
	if err := c.change(a.call); err != nil {
		return err
	}
	defer c.changed()
	result := C.mustafar_go_cache_evict(c.raw, l, h, int32sOf(positions), C.size_t(len(positions)), all)
	return failure(&result)
}

// EvictScores removes the rows of one kv head with the lowest scores, one score per row, until it holds `budget`
// rows, window and sinks included; 0 = what the recipe says. Of equal scores the older token stays.
func (c *Cache) EvictScores(layer, kvHead int, scores []float32, budget int) error {
	a := arguments{call: "mustafar_cache_evict_scores"}
	l, h, most := a.number("layer", layer), a.number("kv_head", kvHead), a.number("budget", budget)
	if a.err != nil {
		return a.err
	}
	if err := c.change(a.call); err != nil {
		return err
	}
	defer c.changed()
	result := C.mustafar_go_cache_evict_scores(c.raw, l, h, floatsOf(scores), C.size_t(len(scores)), most)
	return failure(&result)
}

// Truncate rolls every layer back to its first `length` tokens, exactly, or returns ErrNotExact with the smallest
// exact length in Values[0]; TruncateKeepPacked accepts packed rows in the window.
func (c *Cache) Truncate(length int, flags ...TruncateFlags) error {
	a := arguments{call: "mustafar_cache_truncate"}
	tokens := a.number("length", length)
	all := C.uint32_t(0)
	for _, flag := range flags {
		all |= C.uint32_t(flag)
	}
	if a.err != nil {
		return a.err
	}
	if err := c.change(a.call); err != nil {
		return err
	}
	defer c.changed()
	result := C.mustafar_go_cache_truncate(c.raw, tokens, all)
	return failure(&result)
}

// Reset empties the cache; geometry, recipe and buffers stay.
func (c *Cache) Reset() error {
	if err := c.change("mustafar_cache_reset"); err != nil {
		return err
	}
	defer c.changed()
	result := C.mustafar_go_cache_reset(c.raw)
	return failure(&result)
}

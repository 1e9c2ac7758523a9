// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

// Length tells the tokens appended to a layer.
func (c *Cache) Length(layer int) (Length, error) {
	a := arguments{call: "mustafar_cache_length"}
	l := a.number("layer", layer)
	if a.err != nil {
		return Length{}, a.err
	}
	if err := c.use(a.call); err != nil {
		return Length{}, err
	}
	defer c.done()
	result := C.mustafar_go_cache_length(c.raw, l)
	return Length{int(result.number[0]), int(result.number[1])}, failure(&result.error)
}

// Rows tells the rows a kv head holds after evictions.
func (c *Cache) Rows(layer, kvHead int) (Rows, error) {
	a := arguments{call: "mustafar_cache_rows"}
	l, h := a.number("layer", layer), a.number("kv_head", kvHead)
	if a.err != nil {
		return Rows{}, a.err
	}
	if err := c.use(a.call); err != nil {
		return Rows{}, err
	}
	defer c.done()
	return c.rows(l, h)
}

func (c *Cache) rows(layer, kvHead C.uint32_t) (Rows, error) {
	result := C.mustafar_go_cache_rows(c.raw, layer, kvHead)
	return Rows{int(result.number[0]), int(result.number[1])}, failure(&result.error)
}

// Positions tells the positions of the rows of a kv head, ascending.
func (c *Cache) Positions(layer, kvHead int) ([]int32, error) {
	a := arguments{call: "mustafar_cache_positions"}
	l, h := a.number("layer", layer), a.number("kv_head", kvHead)
	if a.err != nil {
		return nil, a.err
	}
	if err := c.use(a.call); err != nil {
		return nil, err
	}
	defer c.done()
	rows, err := c.rows(l, h)
	if err != nil {
		return nil, err
	}
	positions := make([]int32, rows.Rows)
	result := C.mustafar_go_cache_positions(c.raw, l, h, int32sOf(positions), C.size_t(len(positions)))
	return positions, failure(&result)
}

// Export returns the values of rows [begin, end) of one kv head and side as attend sees them, [end - begin,
// head_dim], and the survivors as bits [end - begin, head_dim / 8], lowest first; for tests and pictures.
func (c *Cache) Export(layer, kvHead int, side Side, begin, end int) (values []float32, bitmaps []uint8, err error) {
	a := arguments{call: "mustafar_cache_export"}
	l, h, s := a.number("layer", layer), a.number("kv_head", kvHead), a.number("side", int(side))
	from, to := a.number("begin", begin), a.number("end", end)
	if a.err != nil {
		return nil, nil, a.err
	}
	if err := c.use(a.call); err != nil {
		return nil, nil, err
	}
	defer c.done()
	rows, err := c.rows(l, h)
	if err != nil {
		return nil, nil, err
	}
	if begin > end || end > rows.Rows { // told here, before a slice of that size is made
		return nil, nil, invalid(a.call, "begin = %d, end = %d leaves the %d rows", begin, end, rows.Rows)
	}
	d := c.shape.HeadDimK
	if side == V {
		d = c.shape.HeadDimV
	}
	values, bitmaps = make([]float32, (end-begin)*d), make([]uint8, (end-begin)*d/8)
	out := F32(values, end-begin, d)
	result := C.mustafar_go_cache_export(c.raw, l, h, s, from, to, *a.tensor("out_values", &out), bytesPointer(bitmaps))
	if err := failure(&result); err != nil {
		return nil, nil, err
	}
	return values, bitmaps, nil
}

// Description is what a cache was made with.
type Description struct {
	Geometry Geometry
	Options  CacheOptions
	Recipe   string // canonical JSON
}

// Describe tells what the cache was made with.
func (c *Cache) Describe() (Description, error) {
	if err := c.use("mustafar_cache_describe"); err != nil {
		return Description{}, err
	}
	defer c.done()
	result := C.mustafar_go_cache_describe(c.raw)
	if err := failure(&result.error); err != nil {
		return Description{}, err
	}
	return Description{
		Geometry: geometryOf(&result.geometry),
		Options: CacheOptions{
			MaxTokens:     int(result.options.max_tokens),
			ReserveTokens: int(result.options.reserve_tokens),
			Manual:        result.options.flags&C.MUSTAFAR_CACHE_AUTO == 0,
		},
		Recipe: C.GoString(result.recipe),
	}, nil
}

// Bytes tells the bytes of the cache, of one layer, or of one kv head of it (All for either).
func (c *Cache) Bytes(layer, kvHead int) (Bytes, error) {
	a := arguments{call: "mustafar_cache_bytes"}
	l, h := a.number("layer", layer), a.number("kv_head", kvHead)
	if a.err != nil {
		return Bytes{}, a.err
	}
	if err := c.use(a.call); err != nil {
		return Bytes{}, err
	}
	defer c.done()
	result := C.mustafar_go_cache_bytes(c.raw, l, h)
	return bytesOf(&result.bytes), failure(&result.error)
}

// Stats tells rows, pages, calls, times and kernels.
func (c *Cache) Stats() (CacheStats, error) {
	if err := c.use("mustafar_cache_get_stats"); err != nil {
		return CacheStats{}, err
	}
	defer c.done()
	result := C.mustafar_go_cache_get_stats(c.raw)
	s := &result.stats
	return CacheStats{
		Longest:        int(s.longest),
		Rows:           uint64(s.rows),
		BodyRows:       uint64(s.body_rows),
		EvictedRows:    uint64(s.evicted_rows),
		Pages:          uint64(s.pages),
		SharedPages:    uint64(s.shared_pages),
		DenseBytes:     uint64(s.dense_bytes),
		AppendedTokens: uint64(s.appended_tokens),
		PackedRows:     uint64(s.packed_rows),
		AttendCalls:    uint64(s.attend_calls),
		AppendNs:       uint64(s.append_ns),
		PackNs:         uint64(s.pack_ns),
		AttendNs:       uint64(s.attend_ns),
		AttendKernel:   text(s.attend_kernel[:]),
		PackKernel:     text(s.pack_kernel[:]),
	}, failure(&result.error)
}

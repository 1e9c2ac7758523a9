// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import (
	"math"
	"strings"
)

// arguments converts those of one call; the first that C could not be told is kept in err.
type arguments struct {
	call string
	err  error
}

func (a *arguments) refuse(format string, values ...any) {
	if a.err == nil {
		a.err = invalid(a.call, format, values...)
	}
}

// number takes a count or an index.
func (a *arguments) number(name string, value int) C.uint32_t {
	if value < 0 || uint64(value) > math.MaxUint32 {
		a.refuse("%s = %d is not in 0..%d", name, value, uint32(math.MaxUint32))
	}
	return C.uint32_t(value)
}

// tensor takes one that may be absent.
func (a *arguments) tensor(name string, t *Tensor) *C.mustafar_go_view {
	view, wrong := t.flat()
	if wrong != "" {
		a.refuse("%s %s", name, wrong)
	}
	return view
}

// text takes a string that C reads up to its NUL.
func (a *arguments) text(name, value string) *C.char {
	if strings.IndexByte(value, 0) >= 0 {
		a.refuse("%s has a NUL byte", name)
	}
	bytes := make([]C.char, len(value)+1)
	for i := 0; i < len(value); i++ {
		bytes[i] = C.char(value[i])
	}
	return &bytes[0]
}

func (a *arguments) geometry(g Geometry) C.mustafar_geometry {
	if g.HeadDimV == 0 {
		g.HeadDimV = g.HeadDimK
	}
	if g.DType == 0 {
		g.DType = F16Type
	}
	return C.mustafar_geometry{
		layers:     a.number("geometry.layers", g.Layers),
		q_heads:    a.number("geometry.q_heads", g.QHeads),
		kv_heads:   a.number("geometry.kv_heads", g.KVHeads),
		head_dim_k: a.number("geometry.head_dim_k", g.HeadDimK),
		head_dim_v: a.number("geometry.head_dim_v", g.HeadDimV),
		dtype:      C.mustafar_dtype(g.DType),
	}
}

func (a *arguments) cacheOptions(o CacheOptions) C.mustafar_cache_options {
	made := C.mustafar_cache_options{
		max_tokens:     a.number("options.max_tokens", o.MaxTokens),
		reserve_tokens: a.number("options.reserve_tokens", o.ReserveTokens),
	}
	if !o.Manual {
		made.flags = C.MUSTAFAR_CACHE_AUTO
	}
	return made
}

// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// AttendOptions are those of Attend; the zero value is the default.
type AttendOptions struct {
	Sinks         Tensor  // f32 [q_heads]: learned sinks; when results are merged, give them to exactly one part
	At            bool    // QPosition is given; else the queries are the last q_len tokens of their cache
	QPosition     int64   // position of query 0, the same for every cache
	Scale         float32 // 0 = 1 / sqrt(head_dim_k)
	Softcap       float32 // 0 = none; else s -> Softcap * tanh(s / Softcap)
	SlidingWindow int     // 0 = none; else w: position p sees p - w + 1 .. p
	DropMass      float32 // 0 = exact; else V rows may be left out whose weights sum to at most this per query
}

// AttendOutputs are what Attend fills; all but Out may be absent.
type AttendOutputs struct {
	Out     Tensor // [caches, q_len, q_heads, head_dim_v], f16, bf16 or f32
	LSE     Tensor // f32 [caches, q_len, q_heads]: natural logarithm of the sum over scaled scores
	Weights Tensor // f32 [caches, q_len, q_heads, w], w >= rows of any kv head
	Dropped Tensor // f32 [caches, q_len, q_heads]: with DropMass, a bound of the weight left out
}

// Attend attends one layer of caches of any lengths, of one geometry and one context. Query i of a cache stands
// at position length - q_len + i (or QPosition + i) and sees the rows at its own position and before.
// q is [caches, q_len, q_heads, head_dim_k], f16, bf16 or f32, any strides. No output may overlap an input or
// another output. Allocates nothing for one cache.
func Attend(caches []*Cache, layer int, q Tensor, options AttendOptions, out AttendOutputs) error {
	a := arguments{call: "mustafar_attend"}
	l := a.number("layer", layer)
	told := C.mustafar_attend_options{
		q_position:     C.int64_t(options.QPosition),
		scale:          C.float(options.Scale),
		softcap:        C.float(options.Softcap),
		sliding_window: a.number("options.sliding_window", options.SlidingWindow),
		drop_mass:      C.float(options.DropMass),
	}
	if options.At {
		told.flags = C.MUSTAFAR_ATTEND_AT
	}
	qView, sinks := a.tensor("q", &q), a.tensor("sinks", &options.Sinks)
	outView, lse := a.tensor("out", &out.Out), a.tensor("lse", &out.LSE)
	weights, dropped := a.tensor("weights", &out.Weights), a.tensor("dropped", &out.Dropped)
	if a.err != nil {
		return a.err
	}
	held, err := useAll(a.call, caches)
	defer doneAll(held)
	if err != nil || len(caches) == 0 {
		return err
	}
	var many []C.uintptr_t // pointers of C's, which C may see in memory of Go's
	if len(caches) > 1 {
		many = make([]C.uintptr_t, len(caches))
		for i, cache := range caches {
			many[i] = C.uintptr_t(uintptr(unsafe.Pointer(cache.raw)))
		}
	}
	e := takeError()
	defer giveError(e)
	status := C.mustafar_go_attend(caches[0].raw, firstOf(many), C.size_t(len(caches)), l, *qView, *sinks, told,
		*outView, *lse, *weights, *dropped, e)
	return failureOf(status, e)
}

// useAll lets a call use all caches, or none: it returns those that doneAll is to give back.
func useAll(call string, caches []*Cache) ([]*Cache, error) {
	for i, cache := range caches {
		if cache == nil {
			return caches[:i], closedError(call, fmt.Sprintf("caches[%d]", i))
		}
		if err := cache.use(call); err != nil {
			return caches[:i], err
		}
	}
	return caches, nil
}

func doneAll(caches []*Cache) {
	for _, cache := range caches {
		cache.release()
	}
	for _, cache := range caches {
		cache.core.log.deliver()
	}
}

// Attend is the package's Attend on this cache alone, without the dimension of caches, into new slices: q is
// [q_len, q_heads, head_dim_k], out [q_len, q_heads, head_dim_v], lse [q_len, q_heads].
func (c *Cache) Attend(layer int, q Tensor, options AttendOptions) (out, lse []float32, err error) {
	const call = "mustafar_attend"
	if q.view.ndim != 3 {
		return nil, nil, invalid(call, "q has %d dimensions; give [q_len, q_heads, head_dim_k]", int(q.view.ndim))
	}
	if _, wrong := q.flat(); wrong != "" {
		return nil, nil, invalid(call, "q %s", wrong)
	}
	if err := c.use(call); err != nil {
		return nil, nil, err
	}
	defer c.done()
	queries, heads, d := int(q.view.shape[0]), c.shape.QHeads, c.shape.HeadDimV
	if queries <= 0 || int(q.view.shape[1]) != heads {
		return nil, nil, invalid(call, "q.shape = [%d, %d, %d]; give [q_len, %d, %d], q_len >= 1",
			queries, int(q.view.shape[1]), int(q.view.shape[2]), heads, c.shape.HeadDimK)
	}
	if queries > q.after { // one that is repeated without end would ask for results without end
		return nil, nil, invalid(call, "q.shape[0] = %d is more than the elements of its slice", queries)
	}
	q.view.ndim = 4
	copy(q.view.shape[1:], q.view.shape[:3])
	copy(q.view.strides[1:], q.view.strides[:3])
	q.view.shape[0], q.view.strides[0] = 1, 0
	out, lse = make([]float32, queries*heads*d), make([]float32, queries*heads)
	err = Attend([]*Cache{c}, layer, q, options, AttendOutputs{
		Out: F32(out, 1, queries, heads, d),
		LSE: F32(lse, 1, queries, heads),
	})
	if err != nil {
		return nil, nil, err
	}
	return out, lse, nil
}

// Merge joins two partial results over disjoint rows of the same queries: outA, outB and out are
// [..., head_dim_v] of one shape, lseA, lseB and lse f32 without the last dimension. out may be outA or outB
// itself, lse likewise. Two empty parts (-Inf) give zeros and -Inf; ErrNonFinite: an lse of NaN or +Inf.
func Merge(context *Context, outA, lseA, outB, lseB, out, lse Tensor) error {
	a := arguments{call: "mustafar_merge"}
	viewOutA, viewLseA := a.tensor("out_a", &outA), a.tensor("lse_a", &lseA)
	viewOutB, viewLseB := a.tensor("out_b", &outB), a.tensor("lse_b", &lseB)
	viewOut, viewLse := a.tensor("out", &out), a.tensor("lse", &lse)
	if a.err != nil {
		return a.err
	}
	if err := context.use(a.call); err != nil {
		return err
	}
	defer context.done()
	result := C.mustafar_go_merge(context.raw, *viewOutA, *viewLseA, *viewOutB, *viewLseB, *viewOut, *viewLse)
	return failure(&result)
}

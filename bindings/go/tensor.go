// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import (
	"fmt"
	"math"
	"math/bits"
	"unsafe"
)

// DType is the type of elements. Halves travel as their bits.
type DType int32

// The element types. As Geometry.DType, F16Type and BF16Type say how 16-bit values are stored.
const (
	F32Type  DType = C.MUSTAFAR_F32
	F16Type  DType = C.MUSTAFAR_F16  // IEEE 754 binary16
	BF16Type DType = C.MUSTAFAR_BF16 // upper half of binary32
	U8Type   DType = C.MUSTAFAR_U8
	I32Type  DType = C.MUSTAFAR_I32
)

// String returns the name, "f16" for one.
func (d DType) String() string { return C.GoString(C.mustafar_dtype_name(C.mustafar_dtype(d))) }

// Tensor is a view of a slice: a shape, and strides in elements. The zero Tensor means "absent" where a call
// allows that. It borrows the slice, which must not change while a call reads it. A shape that leaves the
// slice is told by the call that gets the tensor.
type Tensor struct {
	view          C.mustafar_go_view
	before, after int    // elements of the slice in front of the first one of the view, and from it on
	contiguous    bool   // strides are those of a plain array, whose product fits
	size          int64  // elements of the view, where it is contiguous
	wrong         string // what every call is to answer
}

// F32 is a contiguous view of data in the given shape.
func F32(data []float32, shape ...int) Tensor {
	if len(data) == 0 {
		return newTensor(nil, 0, F32Type, shape)
	}
	return newTensor(unsafe.Pointer(&data[0]), len(data), F32Type, shape)
}

// F16 is a contiguous view of binary16 numbers, given as their bits.
func F16(data []uint16, shape ...int) Tensor { return halves(data, F16Type, shape) }

// BF16 is a contiguous view of bfloat16 numbers, given as their bits.
func BF16(data []uint16, shape ...int) Tensor { return halves(data, BF16Type, shape) }

func halves(data []uint16, dtype DType, shape []int) Tensor {
	if len(data) == 0 {
		return newTensor(nil, 0, dtype, shape)
	}
	return newTensor(unsafe.Pointer(&data[0]), len(data), dtype, shape)
}

// U8 is a contiguous view of bytes: the bits of a mask.
func U8(data []uint8, shape ...int) Tensor {
	if len(data) == 0 {
		return newTensor(nil, 0, U8Type, shape)
	}
	return newTensor(unsafe.Pointer(&data[0]), len(data), U8Type, shape)
}

func newTensor(data unsafe.Pointer, elements int, dtype DType, shape []int) Tensor {
	t := Tensor{after: elements}
	t.view.data = (*C.char)(data)
	t.view.dtype = C.int32_t(dtype)
	if len(shape) == 0 || len(shape) > MaxDims {
		t.wrong = "has a shape of too few or too many dimensions: 1..4"
		return t
	}
	t.view.ndim = C.uint32_t(len(shape))
	size, fits := int64(1), true
	for i := len(shape) - 1; i >= 0; i-- {
		t.view.shape[i], t.view.strides[i] = C.int64_t(shape[i]), C.int64_t(size)
		high, low := bits.Mul64(uint64(size), uint64(shape[i]))
		fits = fits && high == 0 && low < farthest && shape[i] > 0
		size = int64(low)
	}
	t.contiguous, t.size = fits, size
	return t
}

// Strided returns the view with these strides, in elements, one per dimension: 0 repeats an element and
// negative ones go backwards (inputs only).
func (t Tensor) Strided(strides ...int) Tensor {
	if len(strides) != int(t.view.ndim) {
		t.wrong = "has another number of strides than of dimensions"
		return t
	}
	for i, stride := range strides {
		t.view.strides[i] = C.int64_t(stride)
	}
	t.contiguous = false
	return t
}

// From returns the view with its first element moved on by so many elements of the slice, or back.
func (t Tensor) From(elements int) Tensor {
	if elements == 0 {
		return t
	}
	if elements < -t.before || elements >= t.after {
		t.wrong = "begins outside its slice"
		return t
	}
	t.before += elements
	t.after -= elements
	t.view.data = (*C.char)(unsafe.Add(unsafe.Pointer(t.view.data), elements*width(DType(t.view.dtype))))
	return t
}

// width is the size of an element in bytes.
func width(dtype DType) int {
	switch dtype {
	case F16Type, BF16Type:
		return 2
	case U8Type:
		return 1
	}
	return 4
}

// flat is what C gets, once every element that it may touch is known to be in the slice. What else may be
// wrong with a tensor is the library's to say.
func (t *Tensor) flat() (view *C.mustafar_go_view, wrong string) {
	if t.wrong == "" && (t.view.ndim == 0 || t.contiguous && t.size <= int64(t.after)) {
		return &t.view, ""
	}
	return t.flatSlowly()
}

const farthest = math.MaxInt64 / 16

func (t *Tensor) flatSlowly() (*C.mustafar_go_view, string) {
	if t.wrong != "" {
		return &t.view, t.wrong
	}
	lowest, highest := int64(0), int64(0)
	for i := 0; i < int(t.view.ndim); i++ {
		extent := int64(t.view.shape[i])
		if extent <= 0 { // nothing is touched: 0 has no elements, less is refused
			t.view.data = nil
			return &t.view, ""
		}
		reach, ok := product(extent-1, int64(t.view.strides[i]))
		if !ok || lowest < -farthest || highest > farthest {
			return &t.view, "is larger than 64 bits can address"
		}
		if reach < 0 {
			lowest += reach
		} else {
			highest += reach
		}
	}
	if lowest < -int64(t.before) || highest >= int64(t.after) {
		return &t.view, fmt.Sprintf("leaves its slice: from its first element it reaches %d..%d, there are %d..%d; "+
			"give more data or another shape", lowest, highest, -t.before, t.after-1)
	}
	return &t.view, ""
}

// product multiplies a count with a stride; false where that does not fit.
func product(count, stride int64) (int64, bool) {
	magnitude := uint64(stride)
	if stride < 0 {
		magnitude = -magnitude
	}
	high, low := bits.Mul64(uint64(count), magnitude)
	if high != 0 || low > farthest {
		return 0, false
	}
	if stride < 0 {
		return -int64(low), true
	}
	return int64(low), true
}

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
	view     C.mustafar_go_view // data: the start of the slice
	elements int                // of the slice
	first    int                // element of the slice that is element 0 of the view
	wrong    string
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
	t := Tensor{elements: elements}
	t.view.data = (*C.char)(data)
	t.view.dtype = C.int32_t(dtype)
	if len(shape) == 0 || len(shape) > MaxDims {
		t.wrong = "has a shape of too few or too many dimensions: 1..4"
		return t
	}
	t.view.ndim = C.uint32_t(len(shape))
	stride := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		t.view.shape[i] = C.int64_t(shape[i])
		t.view.strides[i] = C.int64_t(stride)
		stride *= int64(shape[i]) // where this wraps, flat() sees that the inner dimensions reach too far
	}
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
	return t
}

// From returns the view with element `first` of its slice as its own first element.
func (t Tensor) From(first int) Tensor {
	t.first = first
	return t
}

// absent reports whether this is the zero Tensor.
func (t *Tensor) absent() bool { return t.view.ndim == 0 && t.wrong == "" }

// flat is what C gets, once every element that it may touch is known to be in the slice. What else may be
// wrong with a tensor is the library's to say.
func (t *Tensor) flat() (view C.mustafar_go_view, wrong string) {
	view = t.view
	if t.wrong != "" {
		return view, t.wrong
	}
	lowest, highest := int64(t.first), int64(t.first)
	for i := 0; i < int(view.ndim); i++ {
		extent := int64(view.shape[i])
		if extent <= 0 { // nothing is touched: 0 has no elements, less is refused
			view.data = nil
			return view, ""
		}
		reach, ok := product(extent-1, int64(view.strides[i]))
		if !ok || lowest < -farthest || highest > farthest {
			return view, "is larger than 64 bits can address"
		}
		if reach < 0 {
			lowest += reach
		} else {
			highest += reach
		}
	}
	if lowest < 0 || highest >= int64(t.elements) {
		return view, fmt.Sprintf("leaves its slice: it reaches elements %d..%d of %d; give more data or another shape",
			lowest, highest, t.elements)
	}
	view.data = (*C.char)(unsafe.Add(unsafe.Pointer(view.data), t.first*width(DType(view.dtype))))
	return view, ""
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

const farthest = math.MaxInt64 / 16

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

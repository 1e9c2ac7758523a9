// SPDX-License-Identifier: Apache-2.0

package mustafarclient

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Tensor is an array as it is sent: little-endian, row-major.
type Tensor struct {
	DType string // f16, bf16 or f32
	Shape []int
	Data  []byte
}

// F16 makes a tensor of halves, given as their bits.
func F16(words []uint16, shape ...int) Tensor { return Tensor{"f16", shape, bytesOf16(words)} }

// BF16 makes a tensor of bfloat16, given as their bits: the upper halves of float32.
func BF16(words []uint16, shape ...int) Tensor { return Tensor{"bf16", shape, bytesOf16(words)} }

// F32 makes a tensor of float32.
func F32(values []float32, shape ...int) Tensor {
	data := make([]byte, 4*len(values))
	for i, value := range values {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(value))
	}
	return Tensor{"f32", shape, data}
}

func bytesOf16(words []uint16) []byte {
	data := make([]byte, 2*len(words))
	for i, word := range words {
		binary.LittleEndian.PutUint16(data[2*i:], word)
	}
	return data
}

// Words are the elements of an f16 or bf16 tensor, as bits.
func (t Tensor) Words() []uint16 {
	words := make([]uint16, len(t.Data)/2)
	for i := range words {
		words[i] = binary.LittleEndian.Uint16(t.Data[2*i:])
	}
	return words
}

// Floats are the elements of an f32 tensor.
func (t Tensor) Floats() []float32 {
	values := make([]float32, len(t.Data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return values
}

func dtypeBytes(dtype string) int {
	switch dtype {
	case "f16", "bf16":
		return 2
	case "f32":
		return 4
	}
	return 0
}

func (t Tensor) check(what string, ndim int) error {
	size := dtypeBytes(t.DType)
	if size == 0 {
		return fmt.Errorf("%s: dtype %q; f16, bf16 or f32 is expected", what, t.DType)
	}
	if len(t.Shape) != ndim {
		return fmt.Errorf("%s: shape %v has %d axes, %d are expected", what, t.Shape, len(t.Shape), ndim)
	}
	for _, length := range t.Shape {
		if length < 1 || size > math.MaxInt/length {
			return fmt.Errorf("%s: shape %v", what, t.Shape)
		}
		size *= length
	}
	if size != len(t.Data) {
		return fmt.Errorf("%s: %s %v takes %d bytes, there are %d", what, t.DType, t.Shape, size, len(t.Data))
	}
	return nil
}

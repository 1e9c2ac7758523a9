// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"strconv"
	"strings"

	"mustafar"
)

// array is a text of the vectors as numbers (README.md, "Arrays"); one of the slices is used.
type array struct {
	dtype  mustafar.DType
	floats []float32
	halves []uint16
	bytes  []uint8
}

var dtypes = map[string]mustafar.DType{
	"f32": mustafar.F32Type, "f16": mustafar.F16Type, "bf16": mustafar.BF16Type, "u8": mustafar.U8Type,
}

var digits = map[mustafar.DType]int{
	mustafar.F32Type: 8, mustafar.F16Type: 4, mustafar.BF16Type: 4, mustafar.U8Type: 2,
}

func newArray(dtype mustafar.DType, count int) *array {
	a := &array{dtype: dtype}
	switch dtype {
	case mustafar.F32Type:
		a.floats = make([]float32, count)
	case mustafar.U8Type:
		a.bytes = make([]uint8, count)
	default:
		a.halves = make([]uint16, count)
	}
	for i := 0; i < count; i++ {
		a.put(i, 0x55555555) // outputs must be written
	}
	return a
}

func (a *array) count() int { return len(a.floats) + len(a.halves) + len(a.bytes) }

func (a *array) put(i int, bits uint32) {
	if i >= a.count() {
		fail("patch out of range")
	}
	switch a.dtype {
	case mustafar.F32Type:
		a.floats[i] = math.Float32frombits(bits)
	case mustafar.U8Type:
		a.bytes[i] = uint8(bits)
	default:
		a.halves[i] = uint16(bits)
	}
}

func (a *array) value(i int) float64 {
	switch a.dtype {
	case mustafar.F32Type:
		return float64(a.floats[i])
	case mustafar.BF16Type:
		return float64(math.Float32frombits(uint32(a.halves[i]) << 16))
	case mustafar.U8Type:
		return float64(a.bytes[i])
	}
	bits := a.halves[i]
	magnitude := math.Ldexp(float64(bits&0x3ff), -24)
	switch exponent := int(bits>>10) & 31; {
	case exponent == 31 && bits&0x3ff != 0:
		return math.NaN()
	case exponent == 31:
		magnitude = math.Inf(1)
	case exponent > 0:
		magnitude = math.Ldexp(float64(bits&0x3ff|0x400), exponent-25)
	}
	if bits&0x8000 != 0 {
		return -magnitude
	}
	return magnitude
}

func (a *array) tensor(shape ...int) mustafar.Tensor {
	switch a.dtype {
	case mustafar.F32Type:
		return mustafar.F32(a.floats, shape...)
	case mustafar.F16Type:
		return mustafar.F16(a.halves, shape...)
	case mustafar.BF16Type:
		return mustafar.BF16(a.halves, shape...)
	}
	return mustafar.U8(a.bytes, shape...)
}

func number(text string, base int) uint64 {
	value, err := strconv.ParseUint(text, base, 64)
	if err != nil {
		fail("not a number: %s", text)
	}
	return value
}

// splitmix64 is that of Steele, Lea and Flood, OOPSLA 2014, as a counter.
func splitmix64(seed, index uint64) uint64 {
	z := (seed<<32 + index + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func randomBits(dtype mustafar.DType, seed, index uint64) uint32 {
	z := splitmix64(seed, index)
	exponent, low := uint32(z>>32)&7, uint32(z)
	switch dtype {
	case mustafar.F16Type:
		return low&0x83ff | (8+exponent)<<10
	case mustafar.BF16Type:
		return low&0x807f | (120+exponent)<<7
	case mustafar.F32Type:
		return low&0x807fffff | (120+exponent)<<23
	}
	return low & 0xff
}

// readArray reads a text; count is needed by gen and all.
func readArray(text string, count int) *array {
	pieces := strings.Split(text, ";")
	parts := strings.Split(pieces[0], ":")
	given := parts[0] != "gen" && parts[0] != "all"
	name := parts[0]
	if !given {
		name = parts[1]
	}
	dtype, known := dtypes[name]
	if !known {
		fail("unknown dtype %s", name)
	}
	width := digits[dtype]
	if given {
		count = len(parts[1]) / width
	}
	mask, first := uint32(math.MaxUint32), uint64(0)
	if !given && len(parts) > 3 {
		mask = uint32(number(parts[3], 16))
	}
	if !given && len(parts) > 4 {
		first = number(parts[4], 10)
	}
	a := newArray(dtype, count)
	for i := 0; i < count; i++ {
		switch {
		case given:
			a.put(i, uint32(number(parts[1][i*width:(i+1)*width], 16)))
		case parts[0] == "all":
			a.put(i, uint32(number(parts[2], 16)))
		default:
			a.put(i, randomBits(dtype, number(parts[2], 10), first+uint64(i))&mask)
		}
	}
	for _, patch := range pieces[1:] {
		at, bits, _ := strings.Cut(patch, "=")
		a.put(int(number(at, 10)), uint32(number(bits, 16)))
	}
	return a
}

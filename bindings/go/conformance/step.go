// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"math"

	"mustafar"
)

// failure is a step that did not come out as it should, or that this program does not understand.
type failure string

func fail(format string, values ...any) { panic(failure(fmt.Sprintf(format, values...))) }

// step is one of a case: flat JSON. A key that is absent has the default.
type step map[string]any

func (s step) has(key string) bool { _, ok := s[key]; return ok }

func (s step) float(key string) float64 { value, _ := s[key].(float64); return value }

func (s step) int(key string) int { return int(s.float(key)) }

func (s step) text(key string) string { value, _ := s[key].(string); return value }

func (s step) flag(key string, otherwise bool) bool {
	if value, ok := s[key].(bool); ok {
		return value
	}
	return otherwise
}

func (s step) ints(key string) []int {
	list, _ := s[key].([]any)
	values := make([]int, len(list))
	for i, value := range list {
		values[i] = int(value.(float64))
	}
	return values
}

// index is a layer or head; -1 is all of them.
func (s step) index(key string) int {
	if s.int(key) < 0 {
		return mustafar.All
	}
	return s.int(key)
}

func (s step) side() mustafar.Side {
	if s.text("side") == "k" {
		return mustafar.K
	}
	return mustafar.V
}

// tolerance is the first of the pair where the reference rows run.
func (s step) tolerance(key string, strict bool) float64 {
	pair := s[key+"_tolerance"].([]any)
	if strict {
		return pair[0].(float64)
	}
	return pair[1].(float64)
}

// tensor is a, in the plain shape or in the layout that the step gives for it.
func (s step) tensor(name string, a *array, shape ...int) mustafar.Tensor {
	if s.has(name + "_shape") {
		shape = s.ints(name + "_shape")
	}
	t := a.tensor(shape...)
	if s.has(name + "_strides") {
		t = t.Strided(s.ints(name + "_strides")...)
	}
	return t.From(s.int(name + "_offset"))
}

func (s step) expect(key string, got int64) {
	if s.has(key) && s[key] != float64(got) {
		fail("%s = %d, expected %v", key, got, s[key])
	}
}

func (s step) expectLeast(key string, got uint64) {
	if s.has(key) && float64(got) < s.float(key) {
		fail("%s: %d is less than %v", key, got, s[key])
	}
}

func expectBytes(what string, got []byte, text string) {
	if want := readArray(text, 0).bytes; !bytes.Equal(got, want) {
		at := 0
		for at < len(got) && at < len(want) && got[at] == want[at] {
			at++
		}
		fail("%s: %d bytes, expected %d; they differ from byte %d", what, len(got), len(want), at)
	}
}

// expectClose compares by the largest difference, or by the norm of the difference over that of what is expected.
func (s step) expectClose(key string, got *array, strict, relative bool) {
	want := readArray(s.text(key), 0)
	if want.count() != got.count() {
		fail("%s: another count", key)
	}
	square, reference, largest := 0.0, 0.0, 0.0
	for i := 0; i < got.count(); i++ {
		a, b := got.value(i), want.value(i)
		if a == b {
			if !math.IsInf(b, 0) {
				reference += b * b
			}
			continue
		}
		square += (a - b) * (a - b)
		reference += b * b
		if d := math.Abs(a - b); math.IsNaN(d) {
			largest = math.Inf(1)
		} else {
			largest = math.Max(largest, d)
		}
	}
	difference := largest
	if relative && reference != 0 {
		difference = math.Sqrt(square / reference)
	}
	if most := s.tolerance(key, strict); !(difference <= most) {
		fail("%s: error %g exceeds %g", key, difference, most)
	}
}

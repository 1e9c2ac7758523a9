// SPDX-License-Identifier: Apache-2.0

package mustafar

import (
	"math/rand"
	"testing"
	"unsafe"
)

// What C may touch is what lies in the slice: every element of random small views, one by one.
func TestViewsNeverLeaveTheirSlice(t *testing.T) {
	source := rand.New(rand.NewSource(1))
	accepted := 0
	for round := 0; round < 200000; round++ {
		data := make([]uint16, source.Intn(12))
		shape, strides := make([]int, 1+source.Intn(4)), []int(nil)
		for i := range shape {
			shape[i] = source.Intn(4)
			strides = append(strides, source.Intn(9)-4)
		}
		first := source.Intn(16) - 2
		view, plain := F16(data, shape...), source.Intn(2) == 0
		if plain {
			for i, stride := len(shape)-1, 1; i >= 0; i-- {
				strides[i] = stride
				stride *= shape[i]
			}
		} else {
			view = view.Strided(strides...)
		}
		view = view.From(first)
		inside, touched := reach(shape, strides, first, len(data))
		got, wrong := view.flat()
		if wrong != "" {
			if inside && touched {
				t.Fatalf("refused: %v, strides %v from %d of %d: %s", shape, strides, first, len(data), wrong)
			}
			continue
		}
		if touched && (!inside || unsafe.Pointer(got.data) != unsafe.Pointer(&data[first])) {
			t.Fatalf("accepted: %v, strides %v from %d of %d", shape, strides, first, len(data))
		}
		if touched {
			accepted++
		}
	}
	if accepted < 1000 {
		t.Errorf("%d views were accepted: too few to tell anything", accepted)
	}
}

// reach visits every element of a view: are all in the slice, and is there any?
func reach(shape, strides []int, at, length int) (inside, touched bool) {
	if len(shape) == 0 {
		return at >= 0 && at < length, true
	}
	inside = true
	for i := 0; i < shape[0]; i++ {
		below, any := reach(shape[1:], strides[1:], at+i*strides[0], length)
		inside, touched = inside && (below || !any), touched || any
	}
	return inside, touched
}

// SPDX-License-Identifier: Apache-2.0

//go:build !race && go1.21

package mustafar

import "testing"

// The calls of every token make no garbage. (The race detector makes its own, and Go 1.19 boxes the pointer of
// an opaque C struct, 8 bytes, to look behind it.)
func TestHotCallsDoNotAllocate(t *testing.T) {
	cache := newTestCache(t, "dense", CacheOptions{MaxTokens: 5000})
	fill(t, cache, 1, 10)
	caches, k, q, out := []*Cache{cache}, random(1, 64), random(2, 128), make([]float32, 128)
	for name, call := range map[string]func() error{
		"append": func() error { return cache.Append(0, F32(k, 1, 2, 32), F32(k, 1, 2, 32)) },
		"attend": func() error {
			return Attend(caches, 0, F32(q, 1, 1, 4, 32), AttendOptions{}, AttendOutputs{Out: F32(out, 1, 1, 4, 32)})
		},
		"length": func() error { _, err := cache.Length(0); return err },
	} {
		allocations := testing.AllocsPerRun(200, func() {
			if err := call(); err != nil {
				t.Fatal(err)
			}
		})
		if allocations != 0 {
			t.Errorf("%s: %g allocations", name, allocations)
		}
	}
}

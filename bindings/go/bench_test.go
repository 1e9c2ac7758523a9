// SPDX-License-Identifier: Apache-2.0

package mustafar

import "testing"

// What bindings/python/bench/overhead.c measures in C: one attend on a cache of one token.
func BenchmarkAttend(b *testing.B) {
	context := newTestContext(b, ContextOptions{Threads: 1})
	geometry := Geometry{Layers: 1, QHeads: 1, KVHeads: 1, HeadDimK: 32}
	cache := must[*Cache](b)(NewCache(context, geometry, parsed(b, "dense"), CacheOptions{MaxTokens: 64, Manual: true}))
	defer cache.Close()
	row, out := make([]float32, 32), make([]float32, 32)
	row[0] = 1
	check(b, cache.Append(0, F32(row, 1, 1, 32), F32(row, 1, 1, 32)))
	caches := []*Cache{cache}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if err := Attend(caches, 0, F32(row, 1, 1, 1, 32), AttendOptions{}, AttendOutputs{Out: F32(out, 1, 1, 1, 32)}); err != nil {
			b.Fatal(err)
		}
	}
}

// 32 MB of keys and 32 MB of values, f16, at once.
func BenchmarkAppend64MB(b *testing.B) {
	const tokens, heads, d = 16384, 8, 128
	context := newTestContext(b, ContextOptions{Threads: 1})
	geometry := Geometry{Layers: 1, QHeads: heads, KVHeads: heads, HeadDimK: d}
	cache := must[*Cache](b)(NewCache(context, geometry, parsed(b, "dense"), CacheOptions{MaxTokens: tokens, Manual: true}))
	defer cache.Close()
	data := make([]uint16, tokens*heads*d)
	for i := range data {
		data[i] = 0x3c00
	}
	b.SetBytes(tokens * heads * d * 4)
	for i := 0; i < b.N; i++ {
		check(b, cache.Append(0, F16(data, tokens, heads, d), F16(data, tokens, heads, d)))
		b.StopTimer()
		check(b, cache.Reset())
		b.StartTimer()
	}
}

// A call that only crosses to C and back.
func BenchmarkLength(b *testing.B) {
	cache := newTestCache(b, "dense", CacheOptions{})
	for i := 0; i < b.N; i++ {
		if _, err := cache.Length(0); err != nil {
			b.Fatal(err)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

// What bindings/python/bench/overhead.c measures in C, from Go: one attend on a cache of one token, in ns, and
// an append of 64 MB, in GB/s; the best of many rounds.
package main

import (
	"fmt"
	"log"
	"math"
	"time"

	"mustafar"
)

const tokens, heads, d = 16384, 8, 128

func try(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	context, err := mustafar.NewContext(mustafar.ContextOptions{Threads: 1})
	try(err)
	defer context.Close()
	recipe, err := mustafar.ParseRecipe("dense")
	try(err)
	defer recipe.Close()
	options := mustafar.CacheOptions{MaxTokens: tokens, Manual: true}
	tiny := mustafar.Geometry{Layers: 1, QHeads: 1, KVHeads: 1, HeadDimK: 32}
	small, err := mustafar.NewCache(context, tiny, recipe, options)
	try(err)
	defer small.Close()
	wide := mustafar.Geometry{Layers: 1, QHeads: heads, KVHeads: heads, HeadDimK: d}
	large, err := mustafar.NewCache(context, wide, recipe, options)
	try(err)
	defer large.Close()
	fmt.Printf("attend %.0f\n", attend(small))
	fmt.Printf("append %.4f\n", appendRows(large))
}

func attend(cache *mustafar.Cache) float64 {
	row, out := make([]float32, 32), make([]float32, 32)
	row[0] = 1
	token := mustafar.F32(row, 1, 1, 32)
	try(cache.Append(0, token, token))
	caches := []*mustafar.Cache{cache}
	best := math.Inf(1)
	for round := 0; round < 200; round++ {
		const calls = 1000
		start := time.Now()
		for i := 0; i < calls; i++ {
			q := mustafar.F32(row, 1, 1, 1, 32)
			to := mustafar.AttendOutputs{Out: mustafar.F32(out, 1, 1, 1, 32)}
			try(mustafar.Attend(caches, 0, q, mustafar.AttendOptions{}, to))
		}
		best = math.Min(best, float64(time.Since(start).Nanoseconds())/calls)
	}
	return best
}

func appendRows(cache *mustafar.Cache) float64 {
	data := make([]uint16, tokens*heads*d)
	for i := range data {
		data[i] = 0x3c00
	}
	best := 0.0
	for round := 0; round < 5; round++ {
		start := time.Now()
		try(cache.Append(0, mustafar.F16(data, tokens, heads, d), mustafar.F16(data, tokens, heads, d)))
		best = math.Max(best, float64(len(data)*4)/float64(time.Since(start).Nanoseconds()))
		try(cache.Reset())
	}
	return best
}

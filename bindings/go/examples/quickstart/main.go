// SPDX-License-Identifier: Apache-2.0

// The smallest use: a cache, 1000 tokens of keys and values, one query.
package main

import (
	"fmt"
	"log"
	"math/rand"

	"mustafar"
)

const tokens, qHeads, kvHeads, d = 1000, 8, 2, 128

func run() error {
	k, v := make([]float32, tokens*kvHeads*d), make([]float32, tokens*kvHeads*d)
	for i := range k {
		k[i], v[i] = rand.Float32()-0.5, rand.Float32()
	}
	context, err := mustafar.NewContext(mustafar.ContextOptions{})
	if err != nil {
		return err
	}
	defer context.Close()
	recipe, err := mustafar.ParseRecipe("lean") // half of every key at 4 bits, all of every value at 2
	if err != nil {
		return err
	}
	defer recipe.Close()
	geometry := mustafar.Geometry{Layers: 1, QHeads: qHeads, KVHeads: kvHeads, HeadDimK: d}
	cache, err := mustafar.NewCache(context, geometry, recipe, mustafar.CacheOptions{MaxTokens: 4096})
	if err != nil {
		return err
	}
	defer cache.Close()
	if err := cache.Append(0, mustafar.F32(k, tokens, kvHeads, d), mustafar.F32(v, tokens, kvHeads, d)); err != nil {
		return err
	}
	out, _, err := cache.Attend(0, mustafar.F32(k[:qHeads*d], 1, qHeads, d), mustafar.AttendOptions{})
	if err != nil {
		return err
	}
	bytes, err := cache.Bytes(mustafar.All, mustafar.All)
	if err != nil {
		return err
	}
	stats, err := cache.Stats()
	fmt.Printf("out[0] = %.4f; %d bytes, dense f16 takes %d; %s\n", out[0], bytes.Total, stats.DenseBytes, stats.AttendKernel)
	return err
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package mustafar_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"math"

	"mustafar"
)

var geometry = mustafar.Geometry{Layers: 1, QHeads: 4, KVHeads: 2, HeadDimK: 64}

func try(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func Example() {
	k, v := make([]float32, 1000*2*64), make([]float32, 1000*2*64)
	for i := range k {
		k[i], v[i] = float32(i%7)-3, 1
	}
	context, err := mustafar.NewContext(mustafar.ContextOptions{})
	try(err)
	defer context.Close()
	recipe, err := mustafar.ParseRecipe("lean")
	try(err)
	defer recipe.Close()
	cache, err := mustafar.NewCache(context, geometry, recipe, mustafar.CacheOptions{MaxTokens: 4096})
	try(err)
	defer cache.Close()

	try(cache.Append(0, mustafar.F32(k, 1000, 2, 64), mustafar.F32(v, 1000, 2, 64)))
	out, _, err := cache.Attend(0, mustafar.F32(k, 1, 4, 64), mustafar.AttendOptions{})
	try(err)
	fmt.Printf("%d numbers, the first is %.2f\n", len(out), out[0])
	rows, err := cache.Rows(0, 0)
	try(err)
	fmt.Printf("%d rows, %d of them packed\n", rows.Rows, rows.Body)
	// Output:
	// 256 numbers, the first is 1.00
	// 1000 rows, 960 of them packed
}

func ExampleError() {
	context, err := mustafar.NewContext(mustafar.ContextOptions{})
	try(err)
	defer context.Close()
	recipe, err := mustafar.ParseRecipe("dense")
	try(err)
	defer recipe.Close()
	cache, err := mustafar.NewCache(context, geometry, recipe, mustafar.CacheOptions{MaxTokens: 10})
	try(err)
	defer cache.Close()

	k := make([]float32, 2*64)
	k[70] = float32(math.NaN())
	err = cache.Append(0, mustafar.F32(k, 1, 2, 64), mustafar.F32(k, 1, 2, 64))
	var failed *mustafar.Error
	if errors.Is(err, mustafar.ErrNonFinite) && errors.As(err, &failed) {
		fmt.Println("side, token, head, channel:", failed.Values)
	}
	// Output:
	// side, token, head, channel: [0 0 1 6]
}

func ExampleCache_Save() {
	context, err := mustafar.NewContext(mustafar.ContextOptions{})
	try(err)
	defer context.Close()
	recipe, err := mustafar.ParseRecipe("lean")
	try(err)
	defer recipe.Close()
	cache, err := mustafar.NewCache(context, geometry, recipe, mustafar.CacheOptions{MaxTokens: 100})
	try(err)
	defer cache.Close()
	row := make([]float32, 2*64)
	try(cache.Append(0, mustafar.F32(row, 1, 2, 64), mustafar.F32(row, 1, 2, 64)))

	var snapshot bytes.Buffer
	model := "my-model rope=10000"
	try(cache.Save(model, &snapshot))
	again, err := mustafar.Load(context, mustafar.LoadOptions{Geometry: &geometry, ModelID: &model}, &snapshot)
	try(err)
	defer again.Close()
	length, err := again.Length(0)
	try(err)
	fmt.Println(length.Total(), "token")
	// Output:
	// 1 token
}
